"""A router follows the rollout while requests flow: none fails, each names its version."""

import asyncio
import logging
from collections.abc import Awaitable, Callable, Sequence

import pytest
import redis
from opentelemetry.sdk.metrics import MeterProvider

from ponder import keys
from ponder.classifiers import ClassifierStore
from ponder.ledger import Ledger
from ponder.v1 import reasoner_pb2 as pb
from router.classification import Classifiers, Classifying
from router.rollouts import Rollouts
from router.serving import slice_of
from router.telemetry import Telemetry
from tests.router.conftest import Stack, eventually
from tests.router.small_worker import MODEL
from tests.router.versions import Operator, made_for, with_an_output_renamed, with_intercepts_moved

REFUSED = "ponder.router.classifier.refused"
SERVING = "ponder.router.classifier.serving"


@pytest.fixture(scope="session")
def first(classifier_path) -> bytes:
    return made_for(classifier_path.read_bytes(), MODEL)


@pytest.fixture(scope="session")
def second(classifier_path) -> bytes:
    return made_for(classifier_path.read_bytes(), MODEL, with_intercepts_moved(-3.0))


def operator_of(stack: Stack) -> Operator:
    return Operator(ClassifierStore.beside(stack.ledger))


async def serves(stack: Stack, version: str) -> None:
    """Returns when a decision names the version."""
    await stack.plan_when(lambda found: found.classifier_version == version)


class Traffic:
    """Requests from several callers at once, until the block ends; any failure fails the block."""

    def __init__(self, stack: Stack, callers: int = 4) -> None:
        self._stack = stack
        self._callers = callers
        self._is_over = False
        self.replies: list[pb.ReasonReply] = []

    async def __aenter__(self) -> "Traffic":
        self._group = asyncio.TaskGroup()
        await self._group.__aenter__()
        for _ in range(self._callers):
            self._group.create_task(self._call())
        return self

    async def __aexit__(self, *exception) -> None:
        self._is_over = True
        await self._group.__aexit__(*exception)

    async def reach(self, condition: Callable[["Traffic"], bool]) -> None:
        async def reached() -> bool:
            return condition(self)

        await eventually(reached)

    async def more(self, num_replies: int = 20) -> None:
        goal = len(self.replies) + num_replies
        await self.reach(lambda traffic: len(traffic.replies) >= goal)

    async def _call(self) -> None:
        while not self._is_over:
            self.replies.append(await self._stack.reason())


async def test_a_promotion_fails_no_request_and_every_reply_and_trace_names_its_version(
    start, classifier_path, first, second
):
    async with start(classifier=str(classifier_path)) as stack:
        operator = operator_of(stack)
        old, new = [await operator.add(serialized) for serialized in (first, second)]
        await operator.promote(old)
        await serves(stack, old)
        async with Traffic(stack) as traffic:
            await traffic.more()
            await operator.promote(new)
            await traffic.reach(lambda t: t.replies[-1].decision.classifier_version == new)
            await traffic.more()
        traces = await stack.traces()

    versions = [reply.decision.classifier_version for reply in traffic.replies]
    assert versions[:20] == [old] * 20
    assert versions[-20:] == [new] * 20
    assert set(versions) == {old, new}
    assert not any(reply.decision.degraded for reply in traffic.replies)
    named = {trace.request_id: trace.classifier_version for trace in traces}
    assert named == {
        reply.request_id: reply.decision.classifier_version for reply in traffic.replies
    }


async def test_a_metric_shows_which_classifier_serves_and_which_does_no_more(start, first, second):
    async with start() as stack:
        operator = operator_of(stack)
        old, new = [await operator.add(serialized) for serialized in (first, second)]
        await operator.promote(old)
        await eventually(_shown(stack, {old: 1}))
        await operator.promote(new)
        await eventually(_shown(stack, {old: 0, new: 1}))


def _shown(stack: Stack, champions: dict[str, int]) -> Callable[[], Awaitable[bool]]:
    async def shown() -> bool:
        of = {"model": MODEL, "role": "champion"}
        told = {v: stack.counted(SERVING, classifier=v, **of) for v in champions}
        return told == champions

    return shown


async def test_a_request_in_flight_keeps_the_version_that_decided_it(start, first, second):
    async with start() as stack:
        operator = operator_of(stack)
        old, new = [await operator.add(serialized) for serialized in (first, second)]
        await operator.promote(old)
        await serves(stack, old)
        for worker in (stack.easy, stack.thinking):
            worker.script.hold_at = 0
        asked = asyncio.create_task(stack.reason())
        await _first(stack.easy.holding, stack.thinking.holding)
        await operator.promote(new)
        await serves(stack, new)
        for worker in (stack.easy, stack.thinking):
            worker.release.set()
        reply = await asked
        (trace,) = await stack.traces()

    assert reply.decision.classifier_version == trace.classifier_version == old


async def test_rolled_back_it_is_the_old_version_again_and_at_last_the_files(
    start, classifier_path, first, second
):
    async with start(classifier=str(classifier_path)) as stack:
        operator = operator_of(stack)
        files = (await stack.plan()).classifier_version
        old, new = [await operator.add(serialized) for serialized in (first, second)]
        for change, version in (
            (lambda r: r.promoted(old, 0.0), old),
            (lambda r: r.promoted(new, 0.0), new),
            (lambda r: r.rolled_back(0.0), old),
            (lambda r: r.promoted("files", 0.0), files),
        ):
            await operator.change(change)
            await serves(stack, version)


@pytest.fixture(params=["corrupt", "truncated", "another shape", "another model", "mislabelled"])
def bad(request, classifier_path, second) -> tuple[bytes, str | None, str]:
    """Contents, the version they are put under if not their own, and what the log says."""
    flipped = bytearray(second)
    flipped[len(flipped) // 2] ^= 1
    changed = made_for(classifier_path.read_bytes(), MODEL, with_an_output_renamed)
    return {
        "corrupt": (bytes(flipped), "c" * 16, "do not match its version"),
        "truncated": (second[: len(second) // 2], "c" * 16, "not a readable ONNX graph"),
        "another shape": (changed, "c" * 16, "outputs are"),
        "another model": (classifier_path.read_bytes(), None, "predicts for the model oracle"),
        "mislabelled": (second, "c" * 16, "its contents are those of version"),
    }[request.param]


async def test_a_version_that_cannot_be_trusted_is_refused_and_the_old_one_stays(
    start, first, bad, caplog
):
    contents, label, complaint = bad
    with caplog.at_level(logging.WARNING, "router.rollouts"):
        async with start() as stack:
            operator = operator_of(stack)
            old = await operator.add(first)
            await operator.promote(old)
            await serves(stack, old)
            broken = await operator.add(contents, label)
            async with Traffic(stack) as traffic:
                await operator.promote(broken)
                await _refused(stack, 1)
                await traffic.more()
            canary = await operator.change(lambda r: r.promoted(old, 0.0).with_canary(broken, 0.5))
            await _refused(stack, 2)
            plans = [await stack.plan(request_id=f"r{i}") for i in range(50)]

    assert {reply.decision.classifier_version for reply in traffic.replies} == {old}
    assert canary.canary == broken
    assert {plan.classifier_version for plan in plans} == {old}
    warnings = [record.message for record in caplog.records if broken in record.message]
    assert len(warnings) == 2
    assert all(complaint in warning for warning in warnings)


async def test_a_rollout_that_cannot_be_right_changes_nothing_and_is_named_once(
    start, redis_url, first, second, caplog
):
    async with start() as stack:
        operator = operator_of(stack)
        old, new = [await operator.add(serialized) for serialized in (first, second)]
        await operator.promote(old)
        await serves(stack, old)
        with redis.Redis.from_url(redis_url) as client:
            client.hset(keys.rollout(MODEL), mapping={"champion": new, "canary_share": "half"})
        await _refused(stack, 1)
        async with Traffic(stack) as traffic:
            await traffic.more()
        with redis.Redis.from_url(redis_url) as client:
            client.hset(keys.rollout(MODEL), "canary_share", "0.0")
        await serves(stack, new)

        assert stack.counted(REFUSED) == 1
    assert {reply.decision.classifier_version for reply in traffic.replies} == {old}
    assert "canary_share" in caplog.text


async def test_a_version_that_is_not_in_the_store_is_refused(start, first):
    async with start() as stack:
        operator = operator_of(stack)
        old = await operator.add(first)
        await operator.promote(old)
        await serves(stack, old)
        await operator.promote("d" * 16)
        await _refused(stack, 1)

        assert (await stack.plan()).classifier_version == old


async def test_redis_emptied_mid_way_leaves_the_champion_and_ends_the_canary(
    start, redis_url, first, second
):
    async with start() as stack:
        operator = operator_of(stack)
        old, new = [await operator.add(serialized) for serialized in (first, second)]
        await operator.promote(old)
        await operator.change(lambda rollout: rollout.with_canary(new, 0.5))
        chosen = next(f"r{i}" for i in range(100) if slice_of(f"r{i}") < 5_000)
        await stack.plan_when(lambda d: d.classifier_version == new, request_id=chosen)
        async with Traffic(stack) as traffic:
            await traffic.more()
            with redis.Redis.from_url(redis_url) as client:
                client.flushall()
            await stack.plan_when(lambda d: d.classifier_version == old, request_id=chosen)
            emptied_at = len(traffic.replies)
            await traffic.more()
            await operator.add(second)
            await operator.promote(new)
            await traffic.reach(lambda t: t.replies[-1].decision.classifier_version == new)

    versions = [reply.decision.classifier_version for reply in traffic.replies]
    assert set(versions[:emptied_at]) == {old, new}
    # Those that were on their way when Redis was emptied have arrived by then.
    assert versions[emptied_at + 4 : emptied_at + 20] == [old] * 16


async def test_redis_gone_leaves_everything(start, own_redis, first, second, caplog):
    async with start(redis_url=own_redis.url) as stack:
        operator = operator_of(stack)
        old, new = [await operator.add(serialized) for serialized in (first, second)]
        await operator.promote(old)
        await operator.change(lambda rollout: rollout.with_canary(new, 0.5))
        chosen = next(f"r{i}" for i in range(100) if slice_of(f"r{i}") < 5_000)
        await stack.plan_when(lambda d: d.classifier_version == new, request_id=chosen)
        with caplog.at_level(logging.WARNING, "router.rollouts"):
            own_redis.stop()
            await eventually(_logged(caplog, "no rollout to be read"))
            plans = [await stack.plan(request_id=chosen) for _ in range(20)]

    assert {plan.classifier_version for plan in plans} == {new}
    assert len([text for text in caplog.messages if "no rollout to be read" in text]) == 1


async def test_the_canary_decides_its_share_and_the_same_requests_on_every_router(
    start, tmp_path, first, second
):
    ids = [f"request-{i}" for i in range(400)]
    async with start() as one, start(spool_dir=str(tmp_path / "other")) as two:
        operator = operator_of(one)
        old, new = [await operator.add(serialized) for serialized in (first, second)]
        await operator.promote(old)
        await operator.change(lambda rollout: rollout.with_canary(new, 0.2))
        chosen = next(name for name in ids if slice_of(name) < 2_000)
        found = []
        for stack in (one, two):
            await stack.plan_when(lambda d: d.classifier_version == new, request_id=chosen)
            found.append([(await stack.plan(request_id=i)).classifier_version for i in ids])

    assert found[0] == found[1]
    expected = [new if slice_of(name) < 2_000 else old for name in ids]
    assert found[0] == expected


@pytest.mark.parametrize("share", [0.01, 0.05, 0.5])
@pytest.mark.parametrize("form", ["{}", "{:032x}", "user-{}-of-8"])
def test_the_slices_are_uniform_whatever_ids_look_like(share, form):
    count = 40_000

    below = sum(slice_of(form.format(i)) < share * 10_000 for i in range(count))

    deviation = (count * share * (1 - share)) ** 0.5
    assert abs(below - count * share) < 4 * deviation


async def test_a_starting_router_serves_what_was_rolled_out_before_it_is_ready(
    start, tmp_path, first
):
    async with start() as stack:
        operator = operator_of(stack)
        version = await operator.add(first)
        await operator.promote(version)
        # Beside it one that looks at the store when it starts, and then once in an hour.
        async with start(spool_dir=str(tmp_path / "other"), refresh_interval_s=3_600.0) as starting:
            await starting.router.prepare()

            assert (await starting.plan()).classifier_version == version


async def test_what_is_loaded_is_not_loaded_again(redis_url, first):
    ledger = Ledger.from_url(redis_url)
    operator = Operator(ClassifierStore.beside(ledger))
    classifying = Classifying(Classifiers())
    prepared: list[Sequence[str]] = []

    async def prepare(model: str, versions: Sequence[str]) -> None:
        prepared.append(versions)

    rollouts = Rollouts(operator.store, classifying, prepare, Telemetry(MeterProvider()))
    version = await operator.add(first)
    await operator.change(lambda rollout: rollout.with_canary(version, 0.1))
    await rollouts.refresh(MODEL)
    await operator.add(b"gone bad", version)
    await operator.promote(version)

    await rollouts.refresh(MODEL)

    champion = classifying.serving(MODEL).champion
    assert champion is not None
    assert champion.version == version
    assert prepared == [(version,), (version,)]
    await ledger.close()


async def _first(*events: asyncio.Event) -> None:
    waiting = [asyncio.create_task(event.wait()) for event in events]
    await asyncio.wait(waiting, return_when=asyncio.FIRST_COMPLETED)
    for task in waiting:
        task.cancel()


def _logged(caplog: pytest.LogCaptureFixture, words: str) -> Callable[[], Awaitable[bool]]:
    async def logged() -> bool:
        return words in caplog.text

    return logged


async def _refused(stack: Stack, times: int) -> None:
    async def refused() -> bool:
        return stack.counted(REFUSED) >= times

    await eventually(refused)
