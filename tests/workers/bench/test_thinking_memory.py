import json

import pytest
from click.testing import CliRunner

from ponder.cli.main import main
from workers.bench.thinking_memory import Cost


def test_the_command_measures_a_thinking_request(tmp_path):
    path = tmp_path / "figures.json"

    result = CliRunner().invoke(main, ["bench", "thinking-memory", "--quick", "--json", str(path)])

    assert result.exit_code == 0, result.output
    report = json.loads(path.read_text())
    figures = report["figures"]
    # 24 + 40 tokens on 4 pages of 16; 4 layers of 2 heads of 32 numbers, keys and values.
    page_bytes = 16 * 2 * 5 * 2 * 32 * 4
    assert figures["kv_bytes_per_thinking_token_reference_40"] == 4 * page_bytes / 40
    assert figures["resident_per_gb_reference_40"] == pytest.approx(1e9 / (4 * page_bytes))
    for name in ("fork_us", "preempt_us", "resume_ms"):
        assert figures[f"{name}_reference_40"] > 0


def test_the_derived_figures_are_of_the_bytes_held():
    cost = Cost(
        model="m",
        tokens=100,
        kv_bytes=5_000,
        dense_bytes=9_000,
        fork_us=1.0,
        preempt_us=1.0,
        resume_ms=1.0,
        step_ms=1.0,
    )

    assert cost.bytes_per_token == 50
    assert cost.resident_per_gb == 200_000
