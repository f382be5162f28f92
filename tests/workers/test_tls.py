"""A worker with certificates thinks for routers that have one, and for nobody else."""

from contextlib import suppress
from typing import Any

import grpc
import pytest

from ponder import rpc
from ponder.environment import ConfigError
from ponder.tls import folder_dialler
from ponder.v1 import worker_pb2, worker_pb2_grpc
from tests.certificates import Authority

TIMEOUT_S = 60


async def status(stub: Any, request: worker_pb2.ThinkRequest) -> grpc.StatusCode:
    call = stub.Think(request, timeout=TIMEOUT_S)
    with suppress(grpc.aio.AioRpcError):
        async for _ in call:
            pass
    code: grpc.StatusCode = await call.code()
    return code


async def test_only_a_router_with_a_certificate_is_served(start_worker, make_request, tmp_path):
    ours, foreign = Authority(), Authority()
    worker = await start_worker(tls_dir=ours.folder(tmp_path / "worker"))
    address = f"127.0.0.1:{worker.parts.server.port}"
    folders = {
        "router": ours.folder(tmp_path / "router", "router"),
        "foreign": foreign.folder(tmp_path / "foreign", "router", trusts=ours),
    }
    codes = {}
    for name, folder in folders.items():
        dialler = folder_dialler(folder, "ROUTER_WORKER_TLS_DIR")
        async with dialler.open(address, rpc.channel_options()) as channel:
            stub: Any = worker_pb2_grpc.WorkerStub(channel)
            codes[name] = await status(stub, make_request())

    assert codes == {"router": grpc.StatusCode.OK, "foreign": grpc.StatusCode.UNAVAILABLE}
    assert await status(worker.stub, make_request()) == grpc.StatusCode.UNAVAILABLE


async def test_a_folder_without_certificates_is_named(start_worker, tmp_path):
    with pytest.raises(ConfigError, match=r"WORKER_TLS_DIR: needs tls\.crt, tls\.key, ca\.crt"):
        await start_worker(tls_dir=tmp_path)
