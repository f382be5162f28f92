"""Which processes a local stack consists of, and the variables each is started with."""

import importlib.resources
import socket
import sys
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

from ponder.cli.child import ChildSpec

HOST = "127.0.0.1"
DEFAULT_PORT = 8800
"""Of the router."""

REFERENCE_MODEL = "ponder-reference"


@dataclass(frozen=True, slots=True, kw_only=True)
class StackConfig:
    """What `ponder up` lets one choose.

    `port` 0: any free one. `redis_url` None: an embedded Redis in `data_dir`. `model_dir` and
    `classifier` None: those that are shipped. `environment` is passed on to the processes, under
    the variables that the stack sets.
    """

    port: int
    redis_url: str | None
    data_dir: Path
    model_dir: Path | None
    classifier: Path | None
    environment: Mapping[str, str]


@dataclass(frozen=True, slots=True, kw_only=True)
class Addresses:
    """Where the parts of one stack listen, host:port, and its Redis."""

    router: str
    easy: str
    thinking: str
    redis_url: str


def model_dir(config: StackConfig) -> Path:
    """The chosen one, or the reference model in the installed `workers` package."""
    return config.model_dir or Path(str(importlib.resources.files("workers"))) / "reference"


def choose_addresses(router_port: int, redis_url: str) -> Addresses:
    """Takes free ports for the workers, and for the router when `router_port` is 0."""
    easy, thinking, spare = free_ports(3)
    return Addresses(
        router=f"{HOST}:{router_port or spare}",
        easy=f"{HOST}:{easy}",
        thinking=f"{HOST}:{thinking}",
        redis_url=redis_url,
    )


def stages(config: StackConfig, addresses: Addresses) -> tuple[tuple[ChildSpec, ...], ...]:
    """In the order in which they are stopped: nobody loses the one that it calls."""
    workers = (
        _worker("easy", addresses.easy, config, addresses.redis_url),
        _worker("thinking", addresses.thinking, config, addresses.redis_url),
    )
    return (_router(config, addresses),), workers


def _router(config: StackConfig, addresses: Addresses) -> ChildSpec:
    variables = {
        "ROUTER_LISTEN": addresses.router,
        "ROUTER_EASY_WORKERS": addresses.easy,
        "ROUTER_THINKING_WORKERS": addresses.thinking,
        "ROUTER_MODELS": _model_name(config),
        "ROUTER_REDIS_URL": addresses.redis_url,
        "ROUTER_SPOOL_DIR": str(config.data_dir / "spool" / "router"),
    }
    if config.classifier is not None:
        variables["ROUTER_CLASSIFIER"] = str(config.classifier)
    return _python_module("router", "router", addresses.router, config, variables)


def _worker(pool: str, address: str, config: StackConfig, redis_url: str) -> ChildSpec:
    variables = {
        "WORKER_POOL": pool,
        "WORKER_NAME": pool,
        "WORKER_LISTEN": address,
        "WORKER_MODEL_DIR": str(model_dir(config)),
        "WORKER_MODEL_NAME": _model_name(config),
        "WORKER_REDIS_URL": redis_url,
        "WORKER_SPOOL_DIR": str(config.data_dir / "spool" / pool),
        # The only router has already gone when the workers are stopped.
        "WORKER_NOTICE_S": "0",
    }
    return _python_module(pool, "workers", address, config, variables)


def _model_name(config: StackConfig) -> str:
    return config.model_dir.name if config.model_dir else REFERENCE_MODEL


def _python_module(
    name: str, module: str, address: str, config: StackConfig, variables: Mapping[str, str]
) -> ChildSpec:
    # Processes that share the cores of one machine are fastest with one thread each.
    defaults = {"OMP_NUM_THREADS": "1", "PYTHONUNBUFFERED": "1"}
    return ChildSpec(
        name=name,
        command=(sys.executable, "-m", module),
        environment={**defaults, **config.environment, **variables},
        address=address,
    )


def free_ports(count: int) -> list[int]:
    """Held all at once, so that they differ. Another program may still take one: then its new
    owner says so at start."""
    sockets = [socket.create_server((HOST, 0)) for _ in range(count)]
    ports = [listener.getsockname()[1] for listener in sockets]
    for listener in sockets:
        listener.close()
    return ports
