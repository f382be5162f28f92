"""Draws a router's status for `ponder top`."""

from collections.abc import Iterator, Mapping
from types import MappingProxyType

from rich import box
from rich.console import Group, RenderableType
from rich.table import Table
from rich.text import Text

from ponder.cli.words import pool_word, tier_word
from ponder.v1 import operations_pb2 as pb

_DRIFTS: Mapping[int, tuple[str, str]] = MappingProxyType(
    {
        pb.DRIFT_UNSPECIFIED: ("drift: too few decisions to tell", "dim"),
        pb.DRIFT_NONE: ("drift: none", ""),
        pb.DRIFT_WARN: ("drift: warn, budgets suffice less often than promised", "yellow"),
        pb.DRIFT_ALARM: ("drift: alarm, budgets suffice far less often than promised", "red"),
    }
)
_NOTHING = "-"
_MOST_TENANTS = 8


def picture(target: str, status: pb.StatusReply, trouble: str = "") -> RenderableType:
    """The whole of it. `trouble` says why it is not of now."""
    parts: list[RenderableType] = [_head(target, status)]
    if trouble:
        parts.append(Text(trouble, style="red"))
    parts += [Text(f"missing: {text}", style="yellow") for text in status.degraded]
    parts.append(_workers(status))
    for model in status.models:
        parts += [_tiers(model, status.recent_s), *_classifiers(model)]
    if status.tenants:
        parts.append(_tenants(status))
    parts += _troubles(status)
    return Group(*parts)


def _head(target: str, status: pb.StatusReply) -> Text:
    return Text(
        f"router {target}, up {_duration(status.uptime_s)}, {status.in_flight} in flight; "
        f"of late: the last {status.recent_s:.0f} s",
        style="bold",
    )


def _workers(status: pb.StatusReply) -> Table:
    table = _table("workers", "pool", "worker", "")
    for column in ("running", "waiting", "tokens/s", "ms/token", "first token", "KV", "to come"):
        table.add_column(column, justify="right", no_wrap=True)
    for worker in status.workers:
        state = Text("up") if worker.is_alive else Text("away", style="red")
        table.add_row(pool_word(worker.pool), worker.address, state, *_load(worker))
    return table


def _load(worker: pb.WorkerStatus) -> Iterator[str]:
    if not worker.is_alive:
        yield from [_NOTHING] * 7
        return
    load = worker.load
    yield f"{load.running}/{load.max_running}"
    yield f"{load.waiting}"
    yield _measured(load.tokens_per_second, ".0f")
    yield _measured(load.time_per_output_token_ms, ".1f")
    yield _measured(load.time_to_first_token_ms, ".0f", " ms")
    yield _share(load.total_kv_pages - load.free_kv_pages, load.total_kv_pages, ".0%")
    yield f"{worker.outstanding_tokens:.0f}"


def _tiers(model: pb.ModelStatus, recent_s: float) -> Table:
    table = _table(f"{model.model}: requests by tier", "tier")
    columns = ("budget", "req/s", "hit", "escalated", "predicted", "used", "kept", "promised", "of")
    for column in columns:
        table.add_column(column, justify="right", no_wrap=True)
    for tier in model.tiers:
        table.add_row(
            tier_word(tier.tier),
            f"{tier.budget_tokens}",
            f"{tier.requests / recent_s:.2f}" if tier.requests else _NOTHING,
            _share(tier.budget_hits, tier.requests),
            _share(tier.escalated, tier.requests),
            _mean(tier.predicted_tokens, tier.predicted_requests),
            _mean(tier.used_tokens, tier.requests),
            _share(tier.decided - tier.missed, tier.decided),
            _share(tier.decided - tier.expected, tier.decided),
            f"{tier.decided}",
        )
    return table


def _classifiers(model: pb.ModelStatus) -> Iterator[Text]:
    source = model.classifier_source
    words = [f"classifier {model.classifier_version} ({source})" if source != "none" else "none"]
    if model.canary_version:
        words.append(f"canary {model.canary_version} for {model.canary_share:.1%}")
    if model.shadow_version:
        words.append(f"shadow {model.shadow_version}")
    total = sum(model.classified.values())
    shares = [f"{by} {count / total:.0%}" for by, count in sorted(model.classified.items())]
    words.append(f"classified by: {', '.join(shares)}" if shares else "nothing classified of late")
    yield Text("; ".join(words), style="" if source == "own" else "yellow")
    text, style = _DRIFTS.get(model.drift, _DRIFTS[pb.DRIFT_UNSPECIFIED])
    yield Text(text, style=style)


def _tenants(status: pb.StatusReply) -> Table:
    table = _table("tenants, most tokens first", "tenant")
    for column in ("tokens/s", "req/s"):
        table.add_column(column, justify="right", no_wrap=True)
    for tenant in status.tenants[:_MOST_TENANTS]:
        per_s = (tenant.tokens / status.recent_s, tenant.requests / status.recent_s)
        table.add_row(tenant.tenant, f"{per_s[0]:.0f}", f"{per_s[1]:.2f}")
    return table


def _troubles(status: pb.StatusReply) -> Iterator[Text]:
    if status.errors:
        counts = (f"{name} {count}" for name, count in sorted(status.errors.items()))
        yield Text(f"refused or failed: {', '.join(counts)}", style="yellow")
    if status.failovers:
        yield Text(f"workers lost mid-request: {status.failovers}", style="yellow")
    if status.degraded_decisions:
        counts = (f"{part} {n}" for part, n in sorted(status.degraded_decisions.items()))
        yield Text(f"decided without: {', '.join(counts)}", style="yellow")


def _table(title: str, *columns: str) -> Table:
    table = Table(box=box.SIMPLE_HEAD, title=title, title_justify="left", title_style="")
    for column in columns:
        table.add_column(column, no_wrap=True)
    return table


def _share(part: float, whole: float, form: str = ".1%") -> str:
    return format(part / whole, form) if whole else _NOTHING


def _mean(total: float, count: int) -> str:
    return f"{total / count:.0f}" if count else _NOTHING


def _measured(value: float, form: str, unit: str = "") -> str:
    """A load's 0 means that nothing was measured yet."""
    return format(value, form) + unit if value else _NOTHING


def _duration(seconds: float) -> str:
    minutes, left_s = divmod(int(seconds), 60)
    hours, minutes = divmod(minutes, 60)
    return f"{hours} h {minutes} min" if hours else f"{minutes} min {left_s} s"
