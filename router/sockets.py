"""How the router listens to clients, and how it calls the workers."""

from typing import Final

import grpc

from ponder.rpc import ServerConfig
from ponder.tls import Dialler, ServerCertificates, TlsFiles, folder_dialler
from router.config import RouterConfig
from router.operations import SERVICE as OPERATIONS
from router.service import SERVICE

# What a request has besides its prompt, generously. A prompt somewhat too long is refused by name.
_MESSAGE_OVERHEAD_BYTES: Final = 64 << 10


def server_config(config: RouterConfig) -> ServerConfig:
    """Raises ConfigError."""
    return ServerConfig(
        address=config.listen,
        services=(SERVICE, OPERATIONS),
        reflection=config.reflection,
        credentials=_credentials(config),
        max_message_bytes=2 * config.max_prompt_bytes + _MESSAGE_OVERHEAD_BYTES,
        grace_s=config.drain_grace_s,
    )


def worker_dialler(config: RouterConfig) -> Dialler:
    """Raises ConfigError."""
    folder, name = config.worker_tls_dir, config.worker_tls_name
    return folder_dialler(folder, "ROUTER_WORKER_TLS_DIR", name)


def _credentials(config: RouterConfig) -> grpc.ServerCredentials | None:
    """None: clients are served without TLS."""
    if not config.tls_dir:
        return None
    files = TlsFiles.of_listener(
        config.tls_dir, "ROUTER_TLS_DIR", asks_clients=config.client_certificates
    )
    return ServerCertificates(files).credentials()
