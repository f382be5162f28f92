"""The router by TLS: certificates name tenants, and workers are called by certificate."""

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import replace
from pathlib import Path
from random import Random
from typing import Any

import grpc
import pytest
from click.testing import CliRunner

from ponder import rpc, tasks
from ponder.cli import main
from ponder.environment import ConfigError
from ponder.tls import Dialler, ServerCertificates, TlsFiles, folder_dialler
from ponder.v1 import reasoner_pb2 as pb
from ponder.v1 import reasoner_pb2_grpc, worker_pb2_grpc
from ponder.v1.budget_pb2 import TIER_COMPLEX, TIER_MODERATE
from router.config import RouterConfig
from router.openai.router_client import open_channel
from router.sockets import worker_dialler
from router.worker_link import WorkerLink
from tests.certificates import Authority
from tests.router.conftest import DEADLINE_S, Stack, eventually, request
from tests.router.small_worker import SmallWorker

TENANTS = """
[tenants.acme]
max_tier = "moderate"
subjects = ["client.acme.example"]
"""


@pytest.fixture
def tenants_file(tmp_path):
    path = tmp_path / "tenants.toml"
    path.write_text(TENANTS)
    return str(path)


@asynccontextmanager
async def calling(stack: Stack, folder: str) -> AsyncIterator[Any]:
    files = TlsFiles.of_client(folder, "CLIENT_DIR")
    address = f"127.0.0.1:{stack.router.server.port}"
    async with Dialler(files).open(address, rpc.channel_options()) as channel:
        yield reasoner_pb2_grpc.ReasonerStub(channel)


async def test_the_name_in_the_certificate_is_the_tenant(start, tenants_file, tmp_path):
    ours = Authority()
    folders = {
        name: ours.folder(tmp_path / name, name)
        for name in ("client.acme.example", "client.other.example")
    }
    tls_dir = ours.folder(tmp_path / "router")
    async with start(tls_dir=tls_dir, client_certificates=True, tenants_file=tenants_file) as stack:
        async with calling(stack, folders["client.acme.example"]) as stub:
            await stub.Reason(request(), timeout=DEADLINE_S)
            denied = stub.Reason(request(tier=TIER_COMPLEX), timeout=DEADLINE_S)
            assert await denied.code() == grpc.StatusCode.PERMISSION_DENIED
        async with calling(stack, folders["client.other.example"]) as stub:
            unknown = stub.Reason(request(tier=TIER_MODERATE), timeout=DEADLINE_S)
            assert await unknown.code() == grpc.StatusCode.UNAUTHENTICATED
        (trace,) = await stack.traces()

    assert trace.tenant == "acme"


async def test_with_tls_nobody_is_served_without(start, tmp_path):
    async with start(tls_dir=Authority().folder(tmp_path / "router")) as stack:
        call = stack.stub.Plan(pb.PlanRequest(request=request()), timeout=DEADLINE_S)

        assert await call.code() == grpc.StatusCode.UNAVAILABLE


def test_asking_for_certificates_needs_tls(config):
    with pytest.raises(ConfigError, match="needs ROUTER_TLS_DIR"):
        RouterConfig(
            easy_workers=("a:1",),
            thinking_workers=(),
            redis_url=config.redis_url,
            spool_dir=config.spool_dir,
            client_certificates=True,
        )


@asynccontextmanager
async def worker_by_tls(folder: str) -> AsyncIterator[str]:
    """As a worker process listens with WORKER_TLS_DIR."""
    files = TlsFiles.of_listener(folder, "WORKER_TLS_DIR", asks_clients=True)
    credentials = ServerCertificates(files).credentials()
    server = rpc.RpcServer(
        rpc.ServerConfig(address="127.0.0.1:0", services=(), credentials=credentials)
    )
    servicer: Any = SmallWorker("easy", None)  # type: ignore[arg-type]  # it settles nothing here
    worker_pb2_grpc.add_WorkerServicer_to_server(servicer, server.grpc_server)
    await server.start()
    try:
        yield f"127.0.0.1:{server.port}"
    finally:
        await server.grpc_server.stop(None)


async def test_a_worker_is_met_once_the_router_has_the_right_certificate(tmp_path):
    ours, former = Authority(), Authority()
    router = tmp_path / "router"
    async with worker_by_tls(ours.folder(tmp_path / "worker", "worker.internal")) as address:
        former.folder(router, "router", trusts=ours)
        files = TlsFiles.of_client(str(router), "ROUTER_WORKER_TLS_DIR")
        link = WorkerLink(address, Random(1), dialler=Dialler(files, "worker.internal"))
        failed = asyncio.Event()
        watching = asyncio.create_task(link.watch(failed.set))
        async with asyncio.timeout(DEADLINE_S):
            await failed.wait()
        assert not link.is_alive

        ours.folder(router, "router")

        async def met() -> bool:
            return link.is_alive

        await eventually(met)
        await tasks.stop([watching])
        await link.close()


@pytest.mark.parametrize(
    ("expected", "looked_up_for", "is_met"),
    [
        ("worker", None, True),
        ("worker", "worker-easy:50061", True),
        ("", "worker:50061", True),
        ("another", None, False),
        ("another", "worker:50061", False),
        ("", "worker-easy:50061", False),
        ("", None, False),
    ],
)
async def test_a_worker_is_met_only_if_its_certificate_names_it(
    config, tmp_path, expected, looked_up_for, is_met
):
    """Pods are called by their addresses; all of them have a certificate of one authority."""
    ours = Authority()
    router = ours.folder(tmp_path / "router", "router")
    dialler = worker_dialler(replace(config, worker_tls_dir=router, worker_tls_name=expected))
    async with worker_by_tls(ours.folder(tmp_path / "worker", "worker")) as address:
        link = WorkerLink(address, Random(1), looked_up_for, dialler)
        seen = asyncio.Event()
        watching = asyncio.create_task(link.watch(seen.set))
        async with asyncio.timeout(DEADLINE_S):
            await seen.wait()

        assert link.is_alive == is_met
        await tasks.stop([watching])
        await link.close()


async def test_a_worker_by_tls_is_not_met_without(tmp_path):
    folder = Authority().folder(Path(tmp_path / "worker"))
    async with worker_by_tls(folder) as address:
        link = WorkerLink(address, Random(1))
        failed = asyncio.Event()
        watching = asyncio.create_task(link.watch(failed.set))
        async with asyncio.timeout(DEADLINE_S):
            await failed.wait()
        assert not link.is_alive
        await tasks.stop([watching])
        await link.close()


async def test_the_command_line_and_the_front_door_call_by_tls(start, tmp_path):
    ours = Authority()
    client = ours.folder(tmp_path / "client", "client")
    tls_dir = ours.folder(tmp_path / "router")
    async with start(tls_dir=tls_dir, client_certificates=True) as stack:
        target = f"127.0.0.1:{stack.router.server.port}"
        asked = ["ask", "What is 2 + 2?", "--target", target]
        by_tls = await asyncio.to_thread(CliRunner().invoke, main, [*asked, "--tls-dir", client])
        without = await asyncio.to_thread(CliRunner().invoke, main, asked)
        dialler = folder_dialler(client, "OPENAI_DOOR_ROUTER_TLS_DIR")
        async with open_channel(target, dialler) as channel:
            stub: Any = reasoner_pb2_grpc.ReasonerStub(channel)
            planned = stub.Plan(pb.PlanRequest(request=request()), timeout=DEADLINE_S)
            assert await planned.code() == grpc.StatusCode.OK

    assert by_tls.exit_code == 0, by_tls.output
    assert by_tls.stdout.startswith("after ")
    assert without.exit_code == 1


def test_a_folder_without_certificates_is_told_in_one_line(tmp_path):
    asked = ["ask", "q", "--target", "127.0.0.1:1", "--tls-dir", str(tmp_path)]
    result = CliRunner().invoke(main, asked)

    assert result.exit_code == 1
    assert "PONDER_TLS_DIR: needs ca.crt" in result.output
