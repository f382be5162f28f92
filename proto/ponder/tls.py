"""TLS from a folder of PEM files, which may be replaced while a process runs: no restart for that.

The files are named as in a Secret of Kubernetes: tls.crt and tls.key prove who we are, ca.crt
signs those whom we trust. A listener looks at them before each handshake. A client's channel keeps
what it was opened with; whoever holds one for long opens a new one once the signature has changed.
Files that do not fit together, as in the middle of being replaced, change nothing until they do.
"""

import logging
import os
import ssl
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Any, Final, Self

import grpc

from ponder.environment import ConfigError

_log = logging.getLogger(__name__)

Signature = tuple[tuple[int, int, int], ...]
Options = Sequence[tuple[str, Any]]
_CERT, _KEY, _CA = "tls.crt", "tls.key", "ca.crt"
_NO_PASSWORD: Final = ""  # instead of asking for one at the terminal


@dataclass(frozen=True, slots=True, kw_only=True)
class TlsFiles:
    """A listener has the pair; with `ca` it takes only clients with a certificate. A client has
    `ca`, and the pair where the listener asks for it.
    """

    cert: Path | None = None
    key: Path | None = None
    ca: Path | None = None

    @classmethod
    def of_listener(cls, folder: str, variable: str, *, asks_clients: bool) -> Self:
        """`variable` is where the folder comes from, for the error. Raises ConfigError."""
        pair = {"cert": Path(folder, _CERT), "key": Path(folder, _KEY)}
        ca = Path(folder, _CA) if asks_clients else None
        return cls(**pair, ca=ca)._checked(variable)

    @classmethod
    def of_client(cls, folder: str, variable: str) -> Self:
        """With the pair, if there is one. Raises ConfigError."""
        cert, key, ca = (Path(folder, name) for name in (_CERT, _KEY, _CA))
        files = cls(cert=cert, key=key, ca=ca) if cert.exists() or key.exists() else cls(ca=ca)
        return files._checked(variable)

    def _checked(self, variable: str) -> Self:
        try:
            self._load()
        except (OSError, ssl.SSLError) as error:
            wanted = ", ".join(path.name for path in self._paths())
            raise ConfigError(f"{variable}: needs {wanted}, PEM: {error}") from error
        return self

    @property
    def signature(self) -> Signature:
        """Changes when a file is replaced. Raises OSError."""
        stats = map(os.stat, self._paths())
        return tuple((found.st_mtime_ns, found.st_size, found.st_ino) for found in stats)

    def server_configuration(self) -> grpc.ServerCertificateConfiguration:
        """What a listener shows and trusts. Raises OSError, ssl.SSLError."""
        self._load()
        assert self.cert is not None
        assert self.key is not None
        pair = [(self.key.read_bytes(), self.cert.read_bytes())]
        return grpc.ssl_server_certificate_configuration(pair, self._read(self.ca))

    def channel_credentials(self) -> grpc.ChannelCredentials:
        """What a client trusts and shows, as it is now. Raises OSError, ssl.SSLError."""
        self._load()
        return grpc.ssl_channel_credentials(*map(self._read, (self.ca, self.key, self.cert)))

    def _load(self) -> None:
        """gRPC takes anything and fails at the handshake; ssl says what is wrong."""
        context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
        if self.cert is not None:
            context.load_cert_chain(self.cert, self.key, password=lambda: _NO_PASSWORD)
        if self.ca is not None:
            context.load_verify_locations(self.ca)

    def _paths(self) -> Iterator[Path]:
        return (path for path in (self.cert, self.key, self.ca) if path is not None)

    @staticmethod
    def _read(path: Path | None) -> bytes | None:
        return None if path is None else path.read_bytes()


class ServerCertificates:
    """The certificates of one listener, followed in their files."""

    def __init__(self, files: TlsFiles) -> None:
        """Raises OSError, ssl.SSLError."""
        self._files = files
        self._seen = files.signature
        self._first = files.server_configuration()

    def credentials(self) -> grpc.ServerCredentials:
        """For RpcServer. With a CA no client gets in without a certificate that it signed."""
        return grpc.dynamic_ssl_server_credentials(
            self._first, self._changed, require_client_authentication=self._files.ca is not None
        )

    def _changed(self) -> Any:
        """Called by gRPC, in a thread of its own, before each handshake. None: as before, which the
        published types leave out.
        """
        try:
            signature = self._files.signature
            if signature == self._seen:
                return None
            self._seen = signature
            configuration = self._files.server_configuration()
        except (OSError, ssl.SSLError) as error:
            _log.warning("the old certificate stays, the new one cannot be used: %s", error)
            return None
        _log.info("a new certificate is used from now on")
        return configuration


class Dialler:
    """Opens channels: without TLS where there are no files."""

    def __init__(self, files: TlsFiles | None = None, name: str | None = None) -> None:
        """`name` is what the other side's certificate must say; None: the host of the address.

        Raises OSError, ssl.SSLError.
        """
        self._files = files
        self._name = name
        self._seen: Signature = files.signature if files else ()
        self._credentials = files.channel_credentials() if files else None

    def open(self, address: str, options: Options, called: str | None = None) -> grpc.aio.Channel:
        """With the certificates of now. `called` is the host:port that `address` was looked up for:
        what calls are for, and what the certificate must say, unless a name was given.
        """
        credentials = self.credentials()
        name = self._name if credentials else None
        # gRPC refuses calls for another host than the certificate says.
        if authority := name or called:
            options = (*options, ("grpc.default_authority", authority))
        if credentials is None:
            return grpc.aio.insecure_channel(address, options=options)
        if expected := name or (called.rpartition(":")[0] if called else None):
            options = (*options, ("grpc.ssl_target_name_override", expected))
        return grpc.aio.secure_channel(address, credentials, options=options)

    def credentials(self) -> grpc.ChannelCredentials | None:
        """The same object until the files change; the former one while they cannot be used."""
        if self._files is None:
            return None
        try:
            signature = self._files.signature
            if signature != self._seen:
                self._seen = signature
                self._credentials = self._files.channel_credentials()
        except (OSError, ssl.SSLError) as error:
            _log.warning("the old certificate stays, the new one cannot be used: %s", error)
        return self._credentials


class Line:
    """A channel to one address that is opened anew when the certificates have changed."""

    def __init__(
        self, dialler: Dialler, address: str, options: Options, called: str | None = None
    ) -> None:
        """Like Dialler.open."""
        self._dialler = dialler
        self._open: Callable[[], grpc.aio.Channel] = partial(dialler.open, address, options, called)
        self._former: list[grpc.aio.Channel] = []
        self._credentials = dialler.credentials()
        self.channel = self._open()

    def renew(self) -> bool:
        """Whether there is a new channel. What runs on the former one goes on."""
        if (credentials := self._dialler.credentials()) is self._credentials:
            return False
        self._former.append(self.channel)
        self._credentials, self.channel = credentials, self._open()
        return True

    async def close(self) -> None:
        for channel in (*self._former, self.channel):
            await channel.close()


def folder_dialler(folder: str, variable: str, name: str = "") -> Dialler:
    """By the files in the folder; empty: without TLS. Raises ConfigError."""
    return Dialler(TlsFiles.of_client(folder, variable) if folder else None, name or None)
