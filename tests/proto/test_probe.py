"""The probe against a server that serves by TLS, drains, or is not there."""

import asyncio

import pytest

from ponder import probe, rpc
from ponder.tls import ServerCertificates, TlsFiles
from tests.certificates import Authority


@pytest.fixture
def folder(tmp_path):
    return Authority().folder(tmp_path / "tls", "worker")


async def asked(folder, is_serving=True, name="worker"):
    """The probe's exit status, asked of a server that takes no client without a certificate."""
    files = TlsFiles.of_listener(folder, "DIR", asks_clients=True)
    credentials = ServerCertificates(files).credentials()
    server = rpc.RpcServer(
        rpc.ServerConfig(address="127.0.0.1:0", services=(), credentials=credentials)
    )
    await server.start()
    if is_serving:
        await server.set_serving()
    address = f"127.0.0.1:{server.port}"
    try:
        return await asyncio.to_thread(
            probe.main, [address, "--tls-dir", folder, "--name", name, "--timeout", "20"]
        )
    finally:
        await server.grpc_server.stop(None)


async def test_who_serves_passes(folder):
    assert await asked(folder) == 0


async def test_who_does_not_serve_fails(folder, capsys):
    assert await asked(folder, is_serving=False) == 1
    assert "NOT_SERVING" in capsys.readouterr().out


async def test_a_name_that_the_certificate_does_not_have_fails(folder, capsys):
    assert await asked(folder, name="router") == 1
    assert "UNAVAILABLE" in capsys.readouterr().err


def test_nobody_there_fails(folder, capsys):
    assert probe.main(["127.0.0.1:1", "--tls-dir", folder]) == 1
    assert "UNAVAILABLE" in capsys.readouterr().err


def test_without_certificates_it_says_what_is_missing(tmp_path, capsys):
    assert probe.main(["127.0.0.1:1", "--tls-dir", str(tmp_path)]) == 1
    assert "ca.crt" in capsys.readouterr().err
