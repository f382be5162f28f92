"""A child for the supervisor's tests: serves gRPC health at the address, until SIGTERM."""

import asyncio
import sys

from ponder import rpc


async def main(address: str) -> None:
    config = rpc.ServerConfig(address=address, services=(), notice_s=0.0)
    print("starting", flush=True)
    await rpc.serve(rpc.RpcServer(config))
    print("ended", flush=True)


asyncio.run(main(sys.argv[1]))
