"""TLS on real sockets: who gets in, and certificates that change while it runs."""

import ssl
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

import grpc
import pytest
from grpc_health.v1 import health_pb2, health_pb2_grpc

from ponder import rpc
from ponder.environment import ConfigError
from ponder.tls import Dialler, Line, ServerCertificates, TlsFiles
from tests.certificates import Authority

TIMEOUT_S = 20


@asynccontextmanager
async def listening(folder: str, *, asks_clients: bool = False) -> AsyncIterator[str]:
    files = TlsFiles.of_listener(folder, "TLS_DIR", asks_clients=asks_clients)
    credentials = ServerCertificates(files).credentials()
    server = rpc.RpcServer(
        rpc.ServerConfig(address="127.0.0.1:0", services=(), credentials=credentials)
    )
    await server.start()
    await server.set_serving()
    try:
        yield f"127.0.0.1:{server.port}"
    finally:
        await server.grpc_server.stop(None)


async def gets_in(channel: grpc.aio.Channel) -> bool:
    stub: Any = health_pb2_grpc.HealthStub(channel)  # the published stubs leave its methods out
    code = await stub.Check(health_pb2.HealthCheckRequest(), timeout=TIMEOUT_S).code()
    assert code in (grpc.StatusCode.OK, grpc.StatusCode.UNAVAILABLE)
    return bool(code == grpc.StatusCode.OK)


async def call(address: str, folder: str | None, name: str | None = None) -> bool:
    files = TlsFiles.of_client(folder, "CLIENT_DIR") if folder else None
    async with Dialler(files, name).open(address, rpc.channel_options()) as channel:
        return await gets_in(channel)


def without_pair(folder: str) -> str:
    for name in ("tls.crt", "tls.key"):
        Path(folder, name).unlink()
    return folder


async def test_only_who_trusts_the_authority_and_speaks_tls_gets_through(tmp_path):
    ours, foreign = Authority(), Authority()
    async with listening(ours.folder(tmp_path / "server")) as address:
        assert await call(address, without_pair(ours.folder(tmp_path / "client")))
        assert not await call(address, without_pair(foreign.folder(tmp_path / "foreign")))
        assert not await call(address, None)


async def test_a_listener_that_asks_takes_only_clients_that_its_authority_signed(tmp_path):
    ours, foreign = Authority(), Authority()
    server = ours.folder(tmp_path / "server")
    async with listening(server, asks_clients=True) as address:
        assert await call(address, ours.folder(tmp_path / "client", "router"))
        assert not await call(address, without_pair(ours.folder(tmp_path / "bare")))
        assert not await call(address, foreign.folder(tmp_path / "foreign", trusts=ours))


async def test_the_name_in_the_certificate_is_checked(tmp_path):
    ours = Authority()
    client = without_pair(ours.folder(tmp_path / "client"))
    async with listening(ours.folder(tmp_path / "server", "worker.internal")) as address:
        assert not await call(address, client)
        assert await call(address, client, name="worker.internal")


async def test_an_address_that_was_looked_up_must_say_the_name_it_was_looked_up_for(tmp_path):
    ours = Authority()
    files = TlsFiles.of_client(without_pair(ours.folder(tmp_path / "client")), "CLIENT_DIR")
    async with listening(ours.folder(tmp_path / "server", "worker.internal")) as address:
        for name, is_right in (("worker.internal", True), ("other.internal", False)):
            channel = Dialler(files).open(address, rpc.channel_options(), f"{name}:50061")
            assert await gets_in(channel) is is_right
            await channel.close()


async def test_a_new_certificate_is_shown_without_a_restart(tmp_path):
    old, new = Authority(), Authority()
    trusts_new = without_pair(new.folder(tmp_path / "client"))
    server = tmp_path / "server"
    async with listening(old.folder(server)) as address:
        assert not await call(address, trusts_new)
        new.folder(server)
        assert await call(address, trusts_new)


async def test_clients_of_a_new_authority_are_taken_without_a_restart(tmp_path):
    ours, clients = Authority(), Authority()
    server, client = tmp_path / "server", clients.folder(tmp_path / "client", trusts=ours)
    async with listening(ours.folder(server), asks_clients=True) as address:
        assert not await call(address, client)
        ours.folder(server, trusts=clients)
        assert await call(address, client)


async def test_a_certificate_that_cannot_be_used_leaves_the_old_one(tmp_path, caplog):
    ours = Authority()
    server, client = tmp_path / "server", without_pair(ours.folder(tmp_path / "client"))
    async with listening(ours.folder(server)) as address:
        for broken in ("", "-----BEGIN CERTIFICATE-----\nAAAA\n-----END CERTIFICATE-----\n"):
            (server / "tls.crt").write_text(broken)
            assert await call(address, client)
        (server / "tls.crt").unlink()
        assert await call(address, client)
        ours.folder(server)
        assert await call(address, client)

    assert "the old certificate stays" in caplog.text


async def test_a_line_is_opened_anew_when_its_certificates_change(tmp_path):
    old, new = Authority(), Authority()
    client = tmp_path / "client"
    async with listening(new.folder(tmp_path / "server"), asks_clients=True) as address:
        old.folder(client)
        dialler = Dialler(TlsFiles.of_client(str(client), "CLIENT_DIR"))
        line = Line(dialler, address, rpc.channel_options())
        assert not await gets_in(line.channel)
        assert not line.renew()

        (client / "ca.crt").write_text("broken")
        assert not line.renew()
        new.folder(client)
        assert line.renew()
        assert await gets_in(line.channel)
        await line.close()


@pytest.mark.parametrize("missing", ["tls.crt", "tls.key", "ca.crt"])
def test_a_missing_file_is_told_by_name_and_variable(tmp_path, missing):
    folder = Authority().folder(tmp_path / "server")
    (tmp_path / "server" / missing).unlink()

    with pytest.raises(ConfigError, match=r"TLS_DIR: needs tls.crt, tls.key, ca.crt.*"):
        TlsFiles.of_listener(folder, "TLS_DIR", asks_clients=True)


def test_a_pair_that_does_not_fit_is_refused(tmp_path):
    authority = Authority()
    folder = authority.folder(tmp_path / "a")
    other = authority.folder(tmp_path / "b")
    Path(folder, "tls.key").write_bytes(Path(other, "tls.key").read_bytes())

    with pytest.raises(ConfigError, match="TLS_DIR"):
        TlsFiles.of_listener(folder, "TLS_DIR", asks_clients=False)
    with pytest.raises(ssl.SSLError):
        TlsFiles(cert=Path(folder, "tls.crt"), key=Path(folder, "tls.key")).server_configuration()
