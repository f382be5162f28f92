"""The course of `ponder bench cycle`: from a first champion over a shift to a better one.

Every step is the command that a user would give; the traffic goes on meanwhile. One thing differs:
the first champion is promoted two days back in time. Routers go back from a champion of less than a
day whose budgets do not suffice, and after the shift they would: the control without a new
classifier would be gone.
"""

from __future__ import annotations

import asyncio
import time
from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime
from pathlib import Path
from typing import Any, Final

from ponder.classifiers import ClassifierStore
from ponder.cli.processes import REFERENCE_MODEL
from ponder.ledger import Ledger
from ponder.rollout import Rollout
from ponder.settlement import Settlement
from workers.bench.cycle_commands import Commands, Done
from workers.bench.cycle_figures import Phase, Versus
from workers.bench.cycle_traffic import SHIFTED, USUAL, Asked, Health, Mix, Traffic
from workers.bench.cycle_worse import write_shuffled

_FEWEST_TO_TRAIN: Final = 2_700
"""Traces: `ponder train` checks the graph on 1,000 of the two fifths that it does not fit."""
_FEWEST_DRIFT_TRACES: Final = 200
_FEWEST_GATE_ROWS: Final = 1_000
_CHAMPION_AGE_S: Final = 2 * 86_400.0
_CANARY_SHARE: Final = 0.5
_SETTLED_S: Final = 30.0
_LOOK_AGAIN_S: Final = 0.2
_REFUSED: Final = 1
_ALARM: Final = 3


@dataclass(frozen=True, slots=True, kw_only=True)
class Sizes:
    """Requests of each phase; `first` and `rest` are of shifted traffic before the retraining."""

    usual: int
    control: int
    first: int
    rest: int
    shadowed: int
    pairs: int
    after: int


@dataclass(frozen=True, slots=True, kw_only=True)
class Cycle:
    """What happened. The documents are those that the commands printed."""

    phases: dict[str, Phase]
    drift: dict[str, dict[str, Any]]
    gates: dict[str, dict[str, Any]]
    shadow: dict[str, Any] | None
    versus: Versus
    forced: bool
    worse_promotions_refused: int
    rollbacks: int
    num_repeats: int
    health: Health


class Course:
    """Runs once. `directory` takes traces and classifiers."""

    def __init__(
        self, traffic: Traffic, commands: Commands, ledger: Ledger, directory: Path, sizes: Sizes
    ) -> None:
        self._traffic = traffic
        self._commands = commands
        self._ledger = ledger
        self._directory = directory
        self._sizes = sizes
        self._phases: dict[str, Phase] = {}
        self._drift: dict[str, dict[str, Any]] = {}
        self._gates: dict[str, dict[str, Any]] = {}
        self._num_repeats = 1

    async def run(self) -> Cycle:
        """Raises click.ClickException when a command fails that should not."""
        sizes = self._sizes
        await self._phase("usual, no traces yet", USUAL, sizes.usual)
        old = await self._first_champion()
        await self._phase("usual", USUAL, sizes.control)
        await self._look_for_drift("usual", sizes.control)
        since = await self._next_second()
        await self._phase("shifted, at first", SHIFTED, sizes.first)
        await self._look_for_drift("shifted", sizes.first)
        await self._phase("shifted, later", SHIFTED, sizes.rest)
        async with self._traffic.flowing("flow", SHIFTED):
            new = await self._added(await self._trained("new", [await self._exported()]))
            passed = await self._judged(new, since)
            shadow = await self._shadowed(new)
            versus = await self._canaried(old, new)
            await self._promoted(new, force=not passed)
            await self._phase("shifted, new champion", SHIFTED, sizes.after)
            refused = await self._worse_refused(old, since)
        history = (await self._classifier("show", "--json")).document["history"]
        return Cycle(
            phases=self._phases,
            drift=self._drift,
            gates=self._gates,
            shadow=shadow,
            versus=versus,
            forced=not passed,
            worse_promotions_refused=refused,
            rollbacks=sum(change["action"] == "rollback" for change in history),
            num_repeats=self._num_repeats,
            health=self._traffic.health,
        )

    async def _phase(self, name: str, mix: Mix, number: int) -> None:
        asked = await self._traffic.ask(name, mix, number)
        self._phases[name] = Phase.of(await self._traces(asked))

    async def _traces(self, asked: Sequence[Asked]) -> list[Settlement]:
        """Of requests that were answered, in their order: the worker settles beside the reply."""
        ids = {one.request_id for one in asked}
        found: dict[str, Settlement] = {}
        async with asyncio.timeout(_SETTLED_S):
            while True:
                async for _, trace in self._ledger.read_newest_traces(REFERENCE_MODEL):
                    if trace.request_id in ids:
                        found[trace.request_id] = trace
                if len(found) == len(ids):
                    return [found[one.request_id] for one in asked]
                await asyncio.sleep(_LOOK_AGAIN_S)

    async def _first_champion(self) -> str:
        version = await self._added(await self._trained("old", [await self._exported()]))
        store = ClassifierStore.beside(self._ledger)
        rollout = await store.read_rollout(REFERENCE_MODEL) or Rollout()
        await store.change(
            REFERENCE_MODEL,
            rollout.promoted(version, time.time() - _CHAMPION_AGE_S),
            action="promote",
            reason="the first",
            changed_by="bench cycle",
        )
        await self._traffic.wait_until(version, decides_all=True)
        return version

    async def _look_for_drift(self, name: str, number: int) -> None:
        newest = max(number, _FEWEST_DRIFT_TRACES)
        done = await self._commands.run(
            *("traces", "drift", "--model", REFERENCE_MODEL),
            *("--traces", newest, "--recent", newest, "--json"),
            expected=(0, _ALARM),
        )
        self._drift[name] = done.document["models"][REFERENCE_MODEL]

    async def _next_second(self) -> str:
        """Local time, which `--since` reads to the second."""
        begin_s = int(time.time()) + 1
        await asyncio.sleep(begin_s - time.time())
        return datetime.fromtimestamp(begin_s).isoformat()

    async def _exported(self) -> Path:
        out = self._directory / "traces"
        await self._commands.run("traces", "export", "--out", out)
        return out

    async def _trained(self, name: str, traces: Sequence[Path]) -> Path:
        """With few traces each is read several times: then the classifier is worth nothing."""
        out = self._directory / f"{name}.onnx"
        repeats = -(-_FEWEST_TO_TRAIN // self._traffic.health.asked)
        self._num_repeats = max(self._num_repeats, repeats)
        await self._commands.run(
            *("train", "--model", REFERENCE_MODEL, "--out", out),
            *("--traces", *(path for path in traces for _ in range(repeats))),
        )
        return out

    async def _added(self, path: Path) -> str:
        version = (await self._classifier("add", path, "--json")).document["version"]
        return str(version)

    async def _judged(self, new: str, since: str) -> bool:
        """Once more where nothing but the latency is refused: the workers keep the machine busy."""
        if await self._gate("new", new, since):
            return True
        checks = self._gates["new"]["checks"]
        refused = {check["name"] for check in checks if check["verdict"] == "refused"}
        if refused != {"latency"}:
            return False
        self._gates["new, first try"] = self._gates.pop("new")
        return await self._gate("new", new, since)

    async def _gate(self, name: str, version: str, since: str) -> bool:
        """By all shifted traffic so far: that is longer than either classifier is old."""
        done = await self._classifier(
            *("gate", version, "--traces", await self._exported(), "--since", since),
            *("--latest-share", 1, "--min-rows", _FEWEST_GATE_ROWS, "--json"),
            expected=(0, _REFUSED),
        )
        self._gates[name] = done.document
        return done.status == 0

    async def _shadowed(self, version: str) -> dict[str, Any] | None:
        await self._classifier("shadow", version)
        await self._phase("shifted, with a shadow", SHIFTED, self._sizes.shadowed)
        shown = (await self._classifier("show", version, "--json")).document
        shadow: dict[str, Any] | None = shown["shadow"]
        return shadow

    async def _canaried(self, old: str, new: str) -> Versus:
        """Every question twice, once decided by either."""
        await self._classifier("canary", new, "--share", _CANARY_SHARE)
        await self._traffic.wait_until(new, decides_all=False)
        pairs = await self._traffic.ask_pairs("pairs", SHIFTED, self._sizes.pairs, (old, new))
        of_old, of_new = ([pair[i] for pair in pairs] for i in range(2))
        old_traces, new_traces = await self._traces(of_old), await self._traces(of_new)
        self._phases["shifted, pairs: old"] = Phase.of(old_traces)
        self._phases["shifted, pairs: new"] = Phase.of(new_traces)
        return Versus.of(old_traces, new_traces)

    async def _promoted(self, version: str, *, force: bool) -> None:
        await self._classifier("promote", version, *(["--force"] if force else []))
        await self._traffic.wait_until(version, decides_all=True)

    async def _worse_refused(self, old: str, since: str) -> int:
        """How many of two worse ones are not promoted: the one before the shift, and one that was
        trained on the outcomes of other requests.
        """
        path = self._directory / "shuffled.jsonl"
        await write_shuffled(self._ledger, REFERENCE_MODEL, path)
        shuffled = await self._added(await self._trained("shuffled", [path]))
        await self._gate("old", old, since)
        await self._gate("shuffled", shuffled, since)
        tried = [
            await self._classifier("promote", version, expected=(0, _REFUSED))
            for version in (old, shuffled)
        ]
        return sum(done.status == _REFUSED for done in tried)

    async def _classifier(self, *arguments: object, expected: Sequence[int] = (0,)) -> Done:
        return await self._commands.run("classifier", *arguments, expected=expected)
