"""`ponder bench upstream` through a worker."""

from workers.bench.upstream import Problem, _ask_all


async def test_problems_go_through_a_worker(vllm):
    address = f"127.0.0.1:{vllm.worker.parts.server.port}"

    outcomes = await _ask_all(address, [Problem("What is 2 and 2?", 4)], [0, 8, 100], 2)

    assert [outcome.done.usage.thinking_tokens for outcome in outcomes] == [0, 8, 31]
    assert all(outcome.is_right and outcome.is_exact for outcome in outcomes)
