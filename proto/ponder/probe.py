"""python -m ponder.probe: is what listens at an address by TLS serving?

For exec probes of Kubernetes, whose own gRPC probes speak no TLS. Exit status 0: it is.
"""

import argparse
import ssl
import sys
from typing import Any

import grpc
from grpc_health.v1 import health_pb2, health_pb2_grpc

from ponder import rpc
from ponder.environment import ConfigError
from ponder.tls import TlsFiles


def main(arguments: list[str] | None = None) -> int:
    """1: it is not, or nobody answers; the reason is one line on standard error."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("address", metavar="HOST:PORT")
    parser.add_argument("--tls-dir", required=True, help="ca.crt, and the pair to show if asked")
    parser.add_argument("--name", help="in the certificate, unless it is the host of the address")
    parser.add_argument("--timeout", type=float, default=3.0, help="seconds")
    options = parser.parse_args(arguments)
    try:
        files = TlsFiles.of_client(options.tls_dir, "--tls-dir")
        status = _status(options.address, files, options.name, options.timeout)
    except (ConfigError, OSError, ssl.SSLError) as error:
        print(error, file=sys.stderr)
        return 1
    except grpc.RpcError as error:
        print(f"{error.code().name}: {error.details()}", file=sys.stderr)
        return 1
    print(health_pb2.HealthCheckResponse.ServingStatus.Name(status))
    return int(status != health_pb2.HealthCheckResponse.SERVING)


def _status(address: str, files: TlsFiles, name: str | None, timeout_s: float) -> int:
    options = [*rpc.channel_options()]
    if name:
        options.append(("grpc.ssl_target_name_override", name))
    with grpc.secure_channel(address, files.channel_credentials(), options) as channel:
        stub: Any = health_pb2_grpc.HealthStub(channel)  # typed for asyncio only
        return int(stub.Check(health_pb2.HealthCheckRequest(), timeout=timeout_s).status)


if __name__ == "__main__":
    sys.exit(main())
