"""Room in a tenant's plan: asked of Redis once per request, of a local allowance while it is away.

With Redis gone or slow a router lets each tenant go on by itself: as many requests at once as the
plan says, and thinking tokens out of a bucket of its own, that holds a minute's worth and fills by
it. A plan with only a monthly limit gets a hundredth of it, refilled evenly over 30 days. So an
outage costs at most that, per router; it is counted as degraded, and what was spent is charged
afterwards.
"""

import asyncio
import math
import time
from collections.abc import AsyncIterator, Callable, Iterator
from contextlib import asynccontextmanager, contextmanager, suppress
from dataclasses import dataclass, replace
from typing import Final

from ponder.plans import TenantPlan
from ponder.quotas import Lacking, Quotas, RequestName
from ponder.redis_call import LedgerUnavailable
from router.decisions import Decision
from router.errors import QuotaExhausted
from router.queries import Query
from router.telemetry import Degraded, Telemetry
from router.tenants import Tenant
from router.tiers import TIERS, TiersOf

# Beyond the deadline: a worker that was cancelled by it settles a moment later.
_LIFE_MARGIN_S: Final = 30.0
# One request in this time finds out whether Redis is back; the others do not wait for it.
_RETRY_S: Final = 1.0
_MONTH_S: Final = 30 * 86_400
_MONTH_SHARE: Final = 0.01
_BUSY_RETRY_S: Final = 1.0
_AWAY: Final = "quotas: Redis does not answer, a local allowance stands in"

Admitted = tuple[Query, Decision]
Decide = Callable[[Query], Decision]


class Allowances:
    """Shared by all requests of a router."""

    def __init__(
        self,
        quotas: Quotas,
        telemetry: Telemetry,
        tiers_of: TiersOf,
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        self._quotas = quotas
        self._telemetry = telemetry
        self._tiers_of = tiers_of
        self._clock = clock
        self._ask_again_at_s: float | None = None
        self._local: dict[str, LocalAllowance] = {}
        self._releasing: set[asyncio.Task[None]] = set()

    @asynccontextmanager
    async def admit(
        self, query: Query, decision: Decision, decide: Decide
    ) -> AsyncIterator[Admitted]:
        """Room for the request during the block: as it was decided, or decided again for a lower
        tier when the plan has tokens only for that. Raises QuotaExhausted.

        What ends well has been charged by the worker; a reservation of what did not is released.
        """
        if not query.tenant.plan.has_limits:
            yield query, decision
            return
        local = self._local_of(query.tenant)
        try:
            admitted = await self._reserve(local, query, decision, decide)
            with local.running_one():
                yield admitted
        except QuotaExhausted:
            raise
        except BaseException:
            self._release(_name(query))
            raise

    async def wait_until_idle(self) -> None:
        """Returns when every release that was begun has ended."""
        while self._releasing:
            await asyncio.wait(self._releasing)

    async def _reserve(
        self, local: "LocalAllowance", query: Query, decision: Decision, decide: Decide
    ) -> Admitted:
        decision, lacking = await self._ask(local, query, decision)
        if lacking and (lower := self._lower(query, decision, lacking)):
            query = lower
            decision, lacking = await self._ask(local, query, decide(query))
        if lacking:
            raise _exhausted(query.tenant.plan, lacking, _tokens(decision))
        return query, decision

    async def _ask(
        self, local: "LocalAllowance", query: Query, decision: Decision
    ) -> tuple[Decision, Lacking | None]:
        tokens = _tokens(decision)
        try:
            return decision, await self._ask_redis(query, tokens)
        except LedgerUnavailable:
            self._telemetry.count_degraded(Degraded.QUOTAS)
            lacking = local.take(tokens, self._clock())
            return replace(decision, degraded=(*decision.degraded, _AWAY)), lacking

    async def _ask_redis(self, query: Query, tokens: int) -> Lacking | None:
        now_s = self._clock()
        if self._ask_again_at_s is not None:
            if now_s < self._ask_again_at_s:
                raise LedgerUnavailable(_AWAY)
            self._ask_again_at_s = now_s + _RETRY_S
        try:
            lacking = await self._quotas.reserve(
                _name(query),
                tokens,
                query.tenant.plan,
                life_s=max(0.0, query.deadline_at_s - now_s) + _LIFE_MARGIN_S,
                now_s=time.time(),
            )
        except LedgerUnavailable:
            self._ask_again_at_s = self._clock() + _RETRY_S
            raise
        self._ask_again_at_s = None
        return lacking

    def _lower(self, query: Query, decision: Decision, lacking: Lacking) -> Query | None:
        """The query of a tenant whose plan ends at the highest tier that there are tokens for. What
        was asked for by budget or tier is not lowered, but refused.
        """
        tiers, choice = self._tiers_of(query.model), decision.choice
        fitting = [
            tier for tier in TIERS if tier < choice.tier and tiers.budget(tier) <= lacking.available
        ]
        if not choice.is_automatic or not fitting:
            return None
        plan = replace(query.tenant.plan, max_tier=fitting[-1])
        return replace(query, tenant=replace(query.tenant, plan=plan))

    def _local_of(self, tenant: Tenant) -> "LocalAllowance":
        local = self._local.setdefault(tenant.name, LocalAllowance(tenant.plan, self._clock()))
        local.plan = tenant.plan
        return local

    def _release(self, name: RequestName) -> None:
        async def release() -> None:
            with suppress(LedgerUnavailable):  # it ends by itself
                await self._quotas.release(name)

        task = asyncio.create_task(release())
        self._releasing.add(task)
        task.add_done_callback(self._releasing.discard)


@dataclass(slots=True)
class LocalAllowance:
    """What one router lets one tenant use while Redis is away. Times are monotonic seconds."""

    plan: TenantPlan
    filled_at_s: float
    running: int = 0
    missing_tokens: float = 0.0

    @contextmanager
    def running_one(self) -> Iterator[None]:
        """Counts a request for the duration of the block."""
        self.running += 1
        try:
            yield
        finally:
            self.running -= 1

    def take(self, tokens: int, now_s: float) -> Lacking | None:
        """Takes the tokens; says what is lacking, and takes none, where there is no room."""
        if 0 < self.plan.concurrency <= self.running:
            return Lacking(limit="concurrency", available=0, refills_in_s=None)
        if not self.plan.tokens_per_minute and not self.plan.tokens_per_month:
            return None
        limit, capacity, per_s = _bucket(self.plan)
        refill = max(0.0, now_s - self.filled_at_s) * per_s
        self.missing_tokens = max(0.0, self.missing_tokens - refill)
        self.filled_at_s = now_s
        available = capacity - self.missing_tokens
        wanted = min(tokens, capacity)
        if tokens and wanted > available:
            wait_s = (wanted - available) / per_s
            return Lacking(limit=limit, available=max(0, int(available)), refills_in_s=wait_s)
        self.missing_tokens += tokens
        return None


def _bucket(plan: TenantPlan) -> tuple[str, float, float]:
    """The limit that it stands for, its tokens when full, and tokens per second."""
    if plan.tokens_per_minute:
        return "tokens_per_minute", plan.tokens_per_minute, plan.tokens_per_minute / 60
    month = plan.tokens_per_month
    return "tokens_per_month", month * _MONTH_SHARE, month / _MONTH_S


def _name(query: Query) -> RequestName:
    return RequestName(tenant=query.tenant.name, model=query.model, request_id=query.request_id)


def _tokens(decision: Decision) -> int:
    return math.ceil(decision.expected_tokens(0))


def _exhausted(plan: TenantPlan, lacking: Lacking, tokens: int) -> QuotaExhausted:
    most = getattr(plan, lacking.limit)
    if lacking.limit == "concurrency":
        return QuotaExhausted(
            f"concurrency: your plan runs {most} requests at once; wait until one has ended",
            _BUSY_RETRY_S,
        )
    wait_s = lacking.refills_in_s or 0.0
    return QuotaExhausted(
        f"{lacking.limit}: of the {most} thinking tokens in your plan {lacking.available} are "
        f"left, and this request is expected to need {tokens}; try again in "
        f"{math.ceil(wait_s)} s, or ask for a lower max_tier",
        wait_s,
    )
