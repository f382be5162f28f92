"""The embedded server: answers when built, keeps its data, dies with its parent."""

import os
import select
import signal
import subprocess
import sys

import pytest
import redis

from ponder import embedded_redis
from ponder.embedded_redis import EmbeddedRedis, EmbeddedRedisError

PARENT = """
import sys, time
from pathlib import Path
from ponder.embedded_redis import EmbeddedRedis
server = EmbeddedRedis(Path(sys.argv[1]))
print(server.pid, flush=True)
time.sleep(600)
"""


def test_it_answers_and_keeps_its_data_over_a_kill(tmp_path):
    with EmbeddedRedis(tmp_path) as server:
        with redis.Redis.from_url(server.url) as client:
            client.config_set("appendfsync", "always")
            client.set("key", "value")
        os.kill(server.pid, signal.SIGKILL)

    with EmbeddedRedis(tmp_path) as server, redis.Redis.from_url(server.url) as client:
        assert client.get("key") == b"value"


def test_stopping_twice_is_harmless_and_leaves_no_process(tmp_path):
    server = EmbeddedRedis(tmp_path)
    server.stop()
    server.stop()

    with pytest.raises(ProcessLookupError):
        os.kill(server.pid, 0)


@pytest.mark.skipif(sys.platform != "linux", reason="needs PR_SET_PDEATHSIG and pidfd")
def test_it_dies_with_a_parent_that_is_killed(tmp_path):
    command = [sys.executable, "-c", PARENT, str(tmp_path)]
    with subprocess.Popen(command, stdout=subprocess.PIPE, text=True) as parent:
        assert parent.stdout is not None
        server = os.pidfd_open(int(parent.stdout.readline()))
        parent.kill()

    ended, _, _ = select.select([server], [], [], 10)
    os.close(server)
    assert ended


def test_a_server_that_cannot_start_says_where_its_log_is(tmp_path):
    (tmp_path / "appendonlydir").write_text("in the way")

    with pytest.raises(EmbeddedRedisError, match=r"server\.log"):
        EmbeddedRedis(tmp_path)


def test_without_any_server_the_error_names_the_remedy(monkeypatch):
    monkeypatch.setattr(embedded_redis, "find_spec", lambda name: None)
    monkeypatch.setenv("PATH", "")

    with pytest.raises(EmbeddedRedisError, match="pip install"):
        embedded_redis.find_server()


def test_a_server_on_the_path_is_the_fallback(monkeypatch, tmp_path):
    program = tmp_path / "redis-server"
    program.write_text("")
    program.chmod(0o755)
    monkeypatch.setattr(embedded_redis, "find_spec", lambda name: None)
    monkeypatch.setenv("PATH", str(tmp_path))

    assert embedded_redis.find_server() == program
