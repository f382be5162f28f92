"""The simulation behind `ponder bench blocking`: it loses nothing, and its controls are right."""

import json
from dataclasses import replace

import numpy as np
import pytest
from click.testing import CliRunner

from ponder.v1.budget_pb2 import POOL_EASY, POOL_THINKING
from router import pools
from router.admission import Bounds
from router.choice import usual_demoted_slots
from router.config import RouterConfig
from workers.bench.blocking import controls
from workers.bench.blocking.cluster import Cluster
from workers.bench.blocking.command import blocking
from workers.bench.blocking.figures import headline
from workers.bench.blocking.jobs import Mix, draw_jobs, read_gaps
from workers.bench.blocking.outcomes import two_classes
from workers.bench.blocking.routing import (
    ANSWER_RESERVE_TOKENS,
    BOUNDS,
    LEAST_LOAN_TOKENS,
    MAX_DURATION_S,
    Routing,
    WorkerView,
)
from workers.bench.blocking.scenario import POLICIES, Setting, Shape, run
from workers.bench.blocking.service import StepModel
from workers.bench.blocking.worker import SimulatedWorker, worker_config

ONE_STEP_A_SECOND = StepModel(base_s=1.0, row_s=0.0, prefill_s=0.0)


@pytest.fixture(scope="module")
def setting() -> Setting:
    return Setting(
        outcomes=two_classes(),
        mix=Mix(0.7),
        shape=Shape(workers=2, slots=4, easy=1),
        model=StepModel.roofline(),
        count=300,
        seed=1,
    )


@pytest.mark.parametrize("load", [0.2, 0.7])
def test_every_job_ends_and_where_there_is_room_thinks_what_it_needs(setting, load):
    jobs = replace(setting, mix=Mix(load)).jobs()
    workers = [SimulatedWorker(worker_config(4), setting.model) for _ in range(2)]
    views = [WorkerView(0, POOL_EASY, 4, 500), WorkerView(1, POOL_THINKING, 4, 10_000)]
    served = Cluster(workers, Routing(setting.outcomes, views, 1, 200.0), jobs).run()

    assert np.isfinite(served.finish_s).all()
    assert (served.finish_s > jobs.arrival_s).all()
    assert (served.thinking_tokens <= jobs.need_tokens).all()
    assert served.computed_tokens >= served.thinking_tokens.sum()
    if load < 0.5:  # more load cuts budgets
        assert (served.thinking_tokens == jobs.need_tokens).all()
    assert all(view.in_flight == 0 for view in views)


def test_first_come_first_served_of_one_slot_is_as_by_hand():
    finish_s = controls.fcfs(
        np.array([0.0, 1.0, 10.0]),
        np.array([4.0, 2.0, 3.0]),
        controls.Slots(1, 1, ONE_STEP_A_SECOND),
    )

    assert finish_s == pytest.approx([4.0, 6.0, 13.0])


def test_shortest_remaining_first_is_as_by_hand():
    finish_s = controls.srpt(
        np.array([0.0, 1.0]), np.array([4.0, 2.0]), controls.Slots(1, 1, ONE_STEP_A_SECOND)
    )

    assert finish_s == pytest.approx([6.0, 3.0])


def test_one_queue_waits_as_long_as_theory_says():
    """Mean wait of M/M/1: load / (1 - load) services (Kleinrock, Queueing Systems, 1975)."""
    rng = np.random.default_rng(0)
    load, count = 0.5, 40_000
    steps = rng.exponential(1.0, count)
    arrival_s = np.cumsum(rng.exponential(1.0 / load, count))
    finish_s = controls.fcfs(arrival_s, steps, controls.Slots(1, 1, ONE_STEP_A_SECOND))

    assert np.mean(finish_s - arrival_s - steps) == pytest.approx(load / (1 - load), rel=0.1)


def test_no_policy_is_faster_on_average_than_shortest_remaining_first(setting):
    means = {name: run(name, setting).mean_s for name in POLICIES}

    assert means["srpt"] <= min(means.values())


def test_every_policy_gets_the_same_jobs(setting):
    once, again = setting.jobs(), setting.jobs()

    assert (once.arrival_s == again.arrival_s).all()
    assert (once.rows == again.rows).all()


def test_tripled_hard_arrivals_leave_the_easy_ones_as_they_were():
    outcomes = two_classes()
    plain = draw_jobs(outcomes, Mix(0.8), 1_000.0, 20_000, 1)
    tripled = draw_jobs(outcomes, Mix(0.8, hard_factor=3.0), 1_000.0, 20_000, 1)
    rates = [(~jobs.is_hard).sum() / jobs.arrival_s[-1] for jobs in (plain, tripled)]
    hard = [jobs.is_hard.sum() / jobs.arrival_s[-1] for jobs in (plain, tripled)]

    assert rates[1] == pytest.approx(rates[0], rel=0.05)
    assert hard[1] == pytest.approx(3 * hard[0], rel=0.1)


def test_the_simulated_router_is_configured_as_the_real_one():
    config = RouterConfig.from_env(
        {
            "ROUTER_EASY_WORKERS": "a:1",
            "ROUTER_THINKING_WORKERS": "b:1",
            "ROUTER_REDIS_URL": "redis://a",
            "ROUTER_SPOOL_DIR": "spool",
        }
    )

    assert pools._LEAST_LOAN_TOKENS == LEAST_LOAN_TOKENS
    assert Bounds(queue_s=config.max_queue_s, line_s=config.max_line_s) == BOUNDS
    assert config.answer_reserve_tokens == ANSWER_RESERVE_TOKENS
    assert config.max_duration_s == MAX_DURATION_S
    assert usual_demoted_slots(64) == 64 * worker_config(4).demoted_floor


@pytest.mark.parametrize("policy", ["ponder", "ponder_open"])
def test_no_hard_work_however_much_refuses_an_easy_request(setting, policy):
    """The share of easy ones that are refused stands beside every slowdown: it counts only who was
    answered."""
    tripled = replace(setting, mix=Mix(0.8, hard_factor=3.0), count=1_000)

    assert run(policy, tripled).easy_refused == 0.0


@pytest.mark.parametrize("text", ["", "t_s\n1\n", "when\n1\n2\n", "t_s\n1\nsoon\n"])
def test_a_file_of_arrivals_that_is_none_is_refused_by_name(tmp_path, text):
    path = tmp_path / "arrivals.csv"
    path.write_text(text)

    with pytest.raises(ValueError, match=r"arrivals\.csv"):
        read_gaps(path)


def test_the_command_reports_every_policy(tmp_path):
    path = tmp_path / "blocking.json"
    arguments = ["--quick", "--json", str(path), "--only", "real", "--jobs", "300"]
    done = CliRunner().invoke(blocking, arguments)

    assert done.exit_code == 0, done.output
    report = json.loads(path.read_text())
    assert report["figures"]["easy_p99_slowdown"] >= 1.0
    assert report["figures"]["mean_over_srpt"] >= 1.0
    named = {f"real_{policy}_mean_s" for policy in POLICIES}
    assert named <= set(report["controls"])
    assert report["figures"]["open_mean_over_srpt"] >= 1.0
    assert not any(name.startswith(("two_class", "processes")) for name in report["controls"])


def test_scenarios_that_are_none_are_refused(monkeypatch):
    monkeypatch.setattr(
        "workers.bench.blocking.command.think_outcomes", lambda count: two_classes()
    )
    done = CliRunner().invoke(blocking, ["--quick", "--only", "unreal"])

    assert done.exit_code == 2
    assert "unreal" in done.output


def test_figures_are_those_of_the_scenarios_that_were_run(setting):
    found = {("two_class", policy): [run(policy, setting)] for policy in ("ponder", "srpt")}

    assert headline(found, "ponder") == {}
