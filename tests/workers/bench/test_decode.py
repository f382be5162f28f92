import json
import time
from pathlib import Path

import pytest
import torch
from click.testing import CliRunner

from ponder.cli.main import main
from workers.bench.decode_ceilings import Ceilings, StepWork
from workers.bench.decode_engine import EngineSubject, Workload
from workers.bench.decode_models import REFERENCE, SHAPES, ModelStore, model_tokens
from workers.bench.decode_plan import Plan
from workers.bench.decode_report import decode_report
from workers.bench.decode_run import Measurement
from workers.engine import EngineConfig, LLMEngine
from workers.engine.models.loader import load_spec
from workers.engine.models.memory import num_parameters
from workers.engine.models.spec import ModelSpec

CPU = torch.device("cpu")
CEILINGS = Ceilings(copy_bytes_per_s=1e9, read_bytes_per_s=2e9, matmul_flop_per_s=1e10)


def measurement(subject="ponder", **changes):
    fields = {
        "model": "reference",
        "subject": subject,
        "batch": 1,
        "context": 512,
        "tokens_per_s": 90.0,
        "speed": 100.0,
        "first_token_s": 0.5,
        "gb_per_s": 1.0,
        "roofline": 0.5,
        "busy_share": 0.9,
        "host_us": 40.0 if subject == "ponder" else None,
    }
    return Measurement(**(fields | changes))


def test_the_command_measures_ours_beside_all_controls(tmp_path):
    path = tmp_path / "figures.json"

    result = CliRunner().invoke(main, ["bench", "decode", "--quick", "--json", str(path)])

    assert result.exit_code == 0, result.output
    report = json.loads(path.read_text())
    figures, controls = report["figures"], report["controls"]
    assert {"ratio_generate_b1", "ratio_generate_b2", "ratio_continuous_b2"} <= figures.keys()
    assert all(value > 0 for value in [*figures.values(), *controls.values()])
    assert {
        "tokens_per_s_generate_dynamic_reference_b1",
        "tokens_per_s_generate_static_reference_b2",
        "tokens_per_s_continuous_batching_reference_b2",
    } <= controls.keys()
    assert "continuous batching" in result.output


def test_a_gpu_that_is_not_there_is_said(monkeypatch):
    monkeypatch.setattr(torch.cuda, "is_available", lambda: False)

    result = CliRunner().invoke(main, ["bench", "decode", "--device", "cuda"])

    assert result.exit_code != 0
    assert "no CUDA device" in result.output


def test_a_ratio_is_against_the_fastest_cache_of_the_worst_model():
    measured = [
        measurement(),
        measurement("generate dynamic", speed=50.0),
        measurement("generate static", speed=80.0),
        measurement("continuous batching", speed=25.0),
        measurement(model="wide", speed=30.0),
        measurement("generate dynamic", model="wide", speed=10.0),
    ]

    figures = decode_report(measured, CEILINGS, "a device").figures

    assert figures["ratio_generate_b1"] == pytest.approx(100 / 80)
    assert figures["ratio_continuous_b1"] == pytest.approx(4.0)


def test_figures_are_those_of_the_short_context():
    measured = [measurement(roofline=0.7), measurement(context=2048, roofline=0.1)]

    assert decode_report(measured, CEILINGS, "a device").figures["roofline_reference_b1"] == 0.7


def test_the_host_time_of_the_headline_has_its_own_name():
    measured = [measurement(model="8b", batch=64, host_us=55.0), measurement(model="0_6b")]

    figures = decode_report(measured, CEILINGS, "a device").figures

    assert figures["host_us_b64"] == 55.0
    assert figures["ttft_ms_0_6b"] == 500.0


def test_a_step_takes_its_matrices_by_bytes_or_arithmetic_and_then_its_keys():
    by_bytes = StepWork(weight_bytes=10**9, kv_bytes=10**9, flop=10**9)
    by_arithmetic = StepWork(weight_bytes=10**9, kv_bytes=10**9, flop=3 * 10**10)

    assert CEILINGS.step_floor_s(by_bytes) == pytest.approx(2.0)
    assert CEILINGS.step_floor_s(by_arithmetic) == pytest.approx(4.0)


@pytest.mark.parametrize(
    ("name", "parameters", "read_gb", "kv_bytes"),
    [
        # Published sizes: 0.596, 1.720 and 8.190 billion parameters.
        ("0_6b", 0.596e9, 1.192, 114_688),
        ("1_7b", 1.720e9, 3.441, 114_688),
        ("8b", 8.190e9, 15.136, 147_456),
    ],
)
def test_bytes_of_the_published_shapes(name, parameters, read_gb, kv_bytes):
    spec = ModelSpec.from_config(SHAPES[name].config())

    work = StepWork.of(spec, torch.bfloat16, batch=3, context=10)

    assert num_parameters(spec) == pytest.approx(parameters, rel=1e-3)
    assert work.weight_bytes / 1e9 == pytest.approx(read_gb, abs=1e-3)
    assert work.kv_bytes == 3 * 10 * kv_bytes


def test_windows_bound_the_keys_that_are_read(tmp_path):
    directory = ModelStore(tmp_path, torch.float32, CPU).directory("reference")
    spec = load_spec(directory)

    short, long = (StepWork.of(spec, torch.float32, 1, n).kv_bytes for n in (128, 4096))

    assert short == long


def test_a_random_model_is_a_checkpoint_of_ten_million_parameters(tmp_path):
    store = ModelStore(tmp_path, torch.float32, CPU)
    directory = store.directory("wide")

    LLMEngine(EngineConfig(model_dir=directory, num_pages=2), model_tokens("wide"))

    assert store.directory("wide") == directory
    assert num_parameters(load_spec(directory)) == pytest.approx(10e6, rel=0.1)
    assert store.vocab_size("wide") == 2048


def test_a_gpu_plan_measures_the_headline_first():
    plan = Plan.make(torch.device("cuda"), quick=False)

    first = plan.stages[0]
    assert (first.model, first.context, first.batches) == ("8b", 512, (1, 8, 64, 256))
    assert {stage.context for stage in plan.stages} == {512, 2048}
    assert any(64 in stage.continuous for stage in plan.stages)


def test_a_cpu_plan_has_every_batch_beside_its_controls():
    for stage in Plan.make(CPU, quick=False).stages:
        assert stage.batches == stage.generate == (1, 8, 16)
        assert stage.continuous == (16,)


def test_models_may_be_kept(tmp_path):
    assert ModelStore(Path(tmp_path), torch.float32, CPU).directory("wide").parent == tmp_path


def test_a_slow_machine_ends_no_row_early():
    store = ModelStore(Path("unused"), torch.float32, CPU)
    workload = Workload.random(store.vocab_size(REFERENCE), batch=16, context=400, num_steps=2)
    subject = EngineSubject(
        store.directory(REFERENCE), model_tokens(REFERENCE), CPU, "float32", [workload]
    )
    subject.engine._clock = lambda: 1e4 * time.monotonic()

    assert subject.run(workload).num_tokens == 16 * 2
