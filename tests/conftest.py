"""What every part uses: a real Redis, emptied before each test; which kernels run how."""

import os
import signal
from collections.abc import Iterator
from pathlib import Path

import pytest
import redis
from hypothesis import settings

from ponder.embedded_redis import EmbeddedRedis

# Machines that run tests may be busy: how long an example takes says nothing about the code.
settings.register_profile("ponder", deadline=None)
# Outside CI: pytest tests/fuzz --hypothesis-profile=long
settings.register_profile("long", deadline=None, max_examples=5_000)
settings.load_profile("ponder")

if signal.getsignal(signal.SIGINT) is signal.SIG_IGN:
    # A shell that starts the tests in the background ignores it, and so would what they start.
    signal.signal(signal.SIGINT, signal.default_int_handler)

HAS_GPU = Path("/dev/nvidiactl").exists()
if not HAS_GPU:
    # Triton reads it when it is imported, which torch does: before any test module is.
    os.environ["TRITON_INTERPRET"] = "1"


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """Skip what needs a CUDA device where there is none."""
    if not HAS_GPU:
        for item in items:
            if item.get_closest_marker("gpu") is not None:
                item.add_marker(pytest.mark.skip(reason="needs a CUDA device"))


@pytest.fixture(scope="session")
def redis_server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[EmbeddedRedis]:
    with EmbeddedRedis(tmp_path_factory.mktemp("redis")) as server:
        yield server


@pytest.fixture
def redis_url(redis_server: EmbeddedRedis) -> str:
    """URL of a real, empty Redis."""
    with redis.Redis.from_url(redis_server.url) as client:
        client.flushall()
    return redis_server.url
