"""TLS of the router: what it shows to clients, and how it calls the workers."""

import grpc

from ponder.tls import Dialler, ServerCertificates, TlsFiles, folder_dialler
from router.config import RouterConfig


def listener_credentials(config: RouterConfig) -> grpc.ServerCredentials | None:
    """None: clients are served without TLS. Raises ConfigError."""
    if not config.tls_dir:
        return None
    files = TlsFiles.of_listener(
        config.tls_dir, "ROUTER_TLS_DIR", asks_clients=config.client_certificates
    )
    return ServerCertificates(files).credentials()


def worker_dialler(config: RouterConfig) -> Dialler:
    """Raises ConfigError."""
    folder, name = config.worker_tls_dir, config.worker_tls_name
    return folder_dialler(folder, "ROUTER_WORKER_TLS_DIR", name)
