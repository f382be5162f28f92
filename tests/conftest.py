"""Fixtures that every part may use: a real Redis, emptied before each test."""

from collections.abc import Iterator

import pytest
import redis
from hypothesis import settings

from ponder.embedded_redis import EmbeddedRedis

# Machines that run tests may be busy: how long an example takes says nothing about the code.
settings.register_profile("ponder", deadline=None)
settings.load_profile("ponder")


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
