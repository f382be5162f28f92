"""What a tenant has used of its plan, in Redis: reserved at admission, charged at settlement.

Tokens are thinking tokens, over all models. A reservation ends when the request is charged, when it
is released, or by itself after its life; so one that nobody ends is no loss for long. A request is
charged once, whether there still is a reservation or not: never is more spent than the plan has,
but for what requests under way think beyond what was reserved for them.
"""

from collections.abc import Awaitable, Callable, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from importlib import resources
from typing import Any, Final, TypeVar

from redis.asyncio import Redis

from ponder import keys
from ponder.plans import TenantPlan
from ponder.redis_call import execute, within

T = TypeVar("T")

_LIFE_S: Final = 400 * 86_400
"""Of what a tenant used: after more than a year without a request it is forgotten."""


@dataclass(frozen=True, slots=True, kw_only=True)
class RequestName:
    """A request id is unique per tenant and model."""

    tenant: str
    model: str
    request_id: str

    @property
    def reservation(self) -> str:
        """No model's name can be taken for another's: the request id has no slash."""
        return f"{self.model}/{self.request_id}"


@dataclass(frozen=True, slots=True, kw_only=True)
class Spent:
    """What a request spent: thinking tokens, and when, unix s, which tells the month."""

    name: RequestName
    tokens: int
    finished_at_s: float

    @property
    def keys(self) -> list[str]:
        """Those of charge.lua."""
        name = self.name
        return [
            keys.quota(name.tenant),
            keys.reservations(name.tenant),
            keys.charged(name.tenant, name.model, name.request_id),
        ]


@dataclass(frozen=True, slots=True, kw_only=True)
class Lacking:
    """What the plan has no more of. `limit` is the name of its field, `available` thinking tokens;
    `refills_in_s` is None when a running request must end first.
    """

    limit: str
    available: int
    refills_in_s: float | None


@dataclass(frozen=True, slots=True, kw_only=True)
class Used:
    """`reserved` tokens are kept for the `running` requests; months such as 2026-11 are UTC."""

    by_month: dict[str, int]
    running: int
    reserved: int


class Quotas:
    """Every method raises LedgerUnavailable."""

    def __init__(
        self, client: Redis, timeout_s: float, clock_ms: Callable[[], int] | None = None
    ) -> None:
        """`clock_ms` is for tests; otherwise the one of Redis counts, which all routers share."""
        self._client = client
        self._timeout_s = timeout_s
        self._clock_ms = clock_ms
        self._reserve, self._charge = map(self._script, ("reserve.lua", "charge.lua"))

    async def reserve(
        self, name: RequestName, tokens: int, plan: TenantPlan, *, life_s: float, now_s: float
    ) -> Lacking | None:
        """Keeps the tokens and one of the places; None when there was room. Repeated, it replaces
        the earlier reservation of the request. `now_s`, unix, tells only the month.
        """
        arguments = [
            name.reservation,
            tokens,
            round(life_s * 1e3),
            plan.tokens_per_minute,
            plan.tokens_per_month,
            plan.concurrency,
            month_of(now_s),
            _LIFE_S,
            self._now(),
        ]
        names = [keys.quota(name.tenant), keys.reservations(name.tenant)]
        limit, available, wait_ms = await self._call(self._reserve(keys=names, args=arguments))
        if not limit:
            return None
        wait_s = None if wait_ms < 0 else wait_ms / 1e3
        if limit == b"tokens_per_month":
            wait_s = month_ends_in_s(now_s)
        return Lacking(limit=limit.decode(), available=available, refills_in_s=wait_s)

    async def charge(
        self, name: RequestName, tokens: int, *, finished_at_s: float, remembered_s: int
    ) -> bool:
        """Ends the reservation and charges what was spent. False: it had been charged before."""
        spent = Spent(name=name, tokens=tokens, finished_at_s=finished_at_s)
        (is_charged,) = await self.charge_all([spent], remembered_s=remembered_s)
        return is_charged

    async def charge_all(self, spent: Sequence[Spent], *, remembered_s: int) -> list[bool]:
        """The same for many requests, in one round trip."""
        pipeline = self._client.pipeline(transaction=False)
        for one in spent:
            await self._charge(
                keys=one.keys,
                args=[
                    *(one.name.reservation, one.tokens, month_of(one.finished_at_s)),
                    *(remembered_s, _LIFE_S, self._now()),
                ],
                client=pipeline,
            )
        return [bool(charged) for charged in await execute(self._timeout_s, pipeline)]

    async def release(self, name: RequestName) -> None:
        """Ends the reservation of a request that spends nothing more."""
        await self._call(self._client.hdel(keys.reservations(name.tenant), name.reservation))

    async def read(self, tenant: str, now_s: float) -> Used:
        """For people. What is no count reads as 0, as the scripts read it."""
        pipeline = self._client.pipeline(transaction=False)
        pipeline.hgetall(keys.quota(tenant))
        pipeline.hvals(keys.reservations(tenant))
        quota, reservations = await execute(self._timeout_s, pipeline)
        held = [tuple(map(_count, value.split())) for value in reservations]
        tokens = [entry[1] for entry in held if len(entry) == 2 and entry[0] > now_s * 1e3]
        months = {field.decode(): _count(spent) for field, spent in quota.items() if b"-" in field}
        return Used(by_month=months, running=len(tokens), reserved=sum(tokens))

    def _script(self, file: str) -> Callable[..., Awaitable[Any]]:
        text = resources.files("ponder").joinpath(file).read_text(encoding="utf-8")
        return self._client.register_script(text)

    def _now(self) -> int | str:
        return "" if self._clock_ms is None else self._clock_ms()

    async def _call(self, reply: Awaitable[T]) -> T:
        return await within(self._timeout_s, reply)


def _count(text: bytes) -> int:
    return int(text) if text.isdigit() else 0


def month_of(time_s: float) -> str:
    """Such as 2026-11, in UTC."""
    return datetime.fromtimestamp(time_s, UTC).strftime("%Y-%m")


def month_ends_in_s(time_s: float) -> float:
    """Seconds until the month is over, in UTC."""
    now = datetime.fromtimestamp(time_s, UTC)
    year, month = (now.year + 1, 1) if now.month == 12 else (now.year, now.month + 1)
    return datetime(year, month, 1, tzinfo=UTC).timestamp() - time_s
