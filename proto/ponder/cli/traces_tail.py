"""`ponder traces tail`: one line per request, as they end."""

import asyncio
import json
from dataclasses import dataclass
from datetime import datetime

import click

from ponder.bins import NEED_BIN_EDGES, NUM_NEED_BINS
from ponder.cli.output import print_json
from ponder.cli.traces import models_to_read, redis_option, run_with_ledger
from ponder.cli.words import finish_word, stop_word, tier_word
from ponder.ledger import Ledger
from ponder.settlement import Settlement
from ponder.trace_rows import to_row

_PAUSE_S = 0.5
_START = "0"

_EPILOG = """\b
Examples:
  ponder traces tail -n 100 --no-follow
  ponder traces tail --tenant acme --json | jq .thinking_tokens
"""

Trace = tuple[str, Settlement]


@dataclass(frozen=True, slots=True, kw_only=True)
class View:
    """What is shown, and how."""

    tenant: str | None
    show_prompt: bool
    as_json: bool

    def shows(self, trace: Trace) -> bool:
        return self.tenant in (None, trace[1].tenant)

    def print(self, trace: Trace) -> None:
        if self.as_json:
            row = to_row(*trace, with_prompt=self.show_prompt)
            del row["features"]  # thousands of numbers; export keeps them
            print_json(row)
        else:
            click.echo(trace_line(trace[1], show_prompt=self.show_prompt))


@click.command(epilog=_EPILOG)
@redis_option
@click.option("--model", help="Only of this model.  [default: all that have traces]")
@click.option("--tenant", help="Only of this tenant.")
@click.option("-n", "count", default=10, show_default=True, type=click.IntRange(0), metavar="N")
@click.option("--follow/--no-follow", default=True, help="Go on as requests end.")
@click.option("--show-prompt", is_flag=True, help="With the prompt, where one was kept.")
@click.option("--json", "as_json", is_flag=True, help="JSON lines; the features are left out.")
def tail(
    redis_url: str | None,
    model: str | None,
    tenant: str | None,
    count: int,
    follow: bool,
    show_prompt: bool,
    as_json: bool,
) -> None:
    """Show the last N requests, then each one as it ends.

    Time, tenant, model, tier, thinking spent and allowed, the bin of the predicted median need,
    why the thinking and the answer ended, escalations, worker.
    """
    view = View(tenant=tenant, show_prompt=show_prompt, as_json=as_json)

    async def show(ledger: Ledger) -> None:
        models = await models_to_read(ledger, model)
        seen = await _show_last(ledger, models, count, view)
        while follow:
            await asyncio.sleep(_PAUSE_S)
            await show_new(ledger, seen, view)

    try:
        run_with_ledger(redis_url, show)
    except KeyboardInterrupt:
        return


def trace_line(settlement: Settlement, *, show_prompt: bool) -> str:
    """One line for people."""
    time = datetime.fromtimestamp(settlement.finished_at_s).strftime("%Y-%m-%d %H:%M:%S")
    used = f"{settlement.usage.thinking_tokens}/{settlement.budget_tokens}"
    parts = [
        f"{time}  {settlement.tenant}  {settlement.model}",
        f"{tier_word(settlement.tier):<8}  {used:>11}  p50 {_bin_words(settlement)}",
        f"{stop_word(settlement.stop)}, {finish_word(settlement.finish_reason)}",
        f"esc {settlement.usage.escalations}  {settlement.worker}",
    ]
    if show_prompt:
        prompt = settlement.prompt
        parts.append("no prompt" if prompt is None else json.dumps(prompt, ensure_ascii=False))
    return "  ".join(parts)


async def show_new(ledger: Ledger, seen: dict[str, str], view: View) -> None:
    """Shows what came after the ids in `seen`, one per model, and moves them on."""
    for model, after_id in list(seen.items()):
        async for trace in ledger.read_traces(model, after_id=after_id):
            seen[model] = trace[0]
            if view.shows(trace):
                view.print(trace)


async def _show_last(ledger: Ledger, models: list[str], count: int, view: View) -> dict[str, str]:
    """Shows the last ones of all models together; returns the newest id of each model."""
    found: list[Trace] = []
    seen = dict.fromkeys(models, _START)
    for model in models:
        num_left = count
        async for trace in ledger.read_newest_traces(model):
            if seen[model] == _START:
                seen[model] = trace[0]
            if num_left == 0:
                break
            if view.shows(trace):
                found.append(trace)
                num_left -= 1
    for trace in sorted(found, key=_order)[max(0, len(found) - count) :]:
        view.print(trace)
    return seen


def _order(trace: Trace) -> tuple[int, ...]:
    return tuple(map(int, trace[0].split("-")))


def _bin_words(settlement: Settlement) -> str:
    """The needs of the predicted bin, for instance 121-175; unknown if it was one of other bins."""
    need_bin = settlement.predicted_bin
    if need_bin is None or len(settlement.prior_hazards) != NUM_NEED_BINS:
        return "unknown"
    if need_bin == NUM_NEED_BINS:
        return f">{NEED_BIN_EDGES[-1]}"
    low = NEED_BIN_EDGES[need_bin - 1] + 1 if need_bin else 0
    return f"{low}-{NEED_BIN_EDGES[need_bin]}"
