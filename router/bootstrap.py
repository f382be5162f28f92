"""Builds the router from its configuration: the one place that picks the real parts."""

import asyncio
import math
import random
import time
from collections.abc import AsyncIterator, Awaitable, Callable, Mapping, Sequence
from contextlib import AsyncExitStack, asynccontextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Final

from opentelemetry.metrics import MeterProvider

from ponder import rpc, tasks
from ponder.environment import ConfigError
from ponder.ledger import Ledger, LedgerConfig, LedgerUnavailable
from ponder.rpc import RpcServer
from ponder.settler import Settler
from ponder.spool import Spool, SpoolInUse
from ponder.v1.budget_pb2 import POOL_EASY, POOL_THINKING
from router import sockets
from router.allowance import Allowances
from router.classification import Classifying, load_classifiers
from router.config import RouterConfig
from router.dispatcher import Dispatcher, DispatcherConfig
from router.limits import CurrentLimits
from router.outcome_gauges import OutcomeGauges
from router.pipeline import Pipeline, PipelineParts
from router.policy import PolicyConfig
from router.pools import Pools, PoolsConfig
from router.predictions import Predictions, Segment
from router.queries import QueryParser
from router.replies import RecentReplies
from router.service import ReasonerService, ServiceParts, add_to_server
from router.settlements import Settlements
from router.shadowing import Shadowing
from router.telemetry import Telemetry, meter_provider
from router.tenant_upkeep import TenantUpkeep, open_tenants
from router.tenants import Tenants
from router.tiers import parse_tier
from router.upkeep import ClassifierUpkeep, open_upkeep
from router.worker_gauges import WorkerGauges

_REDIS_RETRY_S: Final = 0.2


@dataclass(frozen=True, slots=True, kw_only=True)
class Router:
    """A built router; its background work goes on while open_router is open."""

    server: RpcServer
    pools: Pools
    prepare: Callable[[], Awaitable[None]]
    """Returns when there are workers, and the classifiers that were rolled out are loaded."""


@dataclass(frozen=True, slots=True, kw_only=True)
class _Connections:
    """What holds sockets, files and tasks."""

    ledger: Ledger
    settlements: Settlements
    pools: Pools
    predictions: Predictions
    limits: CurrentLimits
    shadowing: Shadowing
    upkeep: ClassifierUpkeep
    allowances: Allowances


async def serve(config: RouterConfig, environ: Mapping[str, str]) -> None:
    """Runs the router until SIGTERM. Raises ConfigError, ponder.rpc.BindError."""
    async with open_router(config, meter_provider(environ)) as router:
        await rpc.serve(router.server, router.prepare())


@asynccontextmanager
async def open_router(config: RouterConfig, meters: MeterProvider) -> AsyncIterator[Router]:
    """Everything built and connected; the server is bound, not started.

    Raises ConfigError, ponder.rpc.BindError.
    """
    tenants, classifying = open_tenants(config), Classifying(load_classifiers(config.classifier))
    telemetry = Telemetry(meters)
    server = RpcServer(sockets.server_config(config))
    async with AsyncExitStack() as stack:
        connections = await _connect(config, tenants, classifying, telemetry, stack)
        parts = _service_parts(config, connections, telemetry, classifying, tenants)
        add_to_server(ReasonerService(parts, config), server.grpc_server)
        yield Router(
            server=server, pools=connections.pools, prepare=_preparing(config, connections)
        )


async def _connect(
    config: RouterConfig,
    tenants: Tenants,
    classifying: Classifying,
    telemetry: Telemetry,
    stack: AsyncExitStack,
) -> _Connections:
    ledger = await _open_ledger(config, stack)
    settler = Settler(ledger, stack.enter_context(_open_spool(config)))
    pools = Pools(_pools_config(config), random.Random())
    stack.push_async_callback(pools.close)
    predictions = Predictions(ledger, config.prior_weight, telemetry, config.tiers_of)
    limits = CurrentLimits(config, pools)
    shadowing = Shadowing(classifying, predictions, limits, _policies(config), telemetry)
    segments = _segments(_served_models(config, pools), classifying.versions, tenants)
    read = _reading(predictions, tenants)
    upkeep = open_upkeep(config, ledger, classifying, read, shadowing, telemetry)
    models, interval_s = _served_models(config, pools), config.refresh_interval_s
    stored = TenantUpkeep(config, ledger, tenants)
    await stored.refresh()  # before the first call, not only soon after
    await stack.enter_async_context(
        tasks.running(
            pools.run(),
            settler.run(),
            predictions.run(segments, interval_s),
            OutcomeGauges(ledger, telemetry).run(segments, interval_s),
            WorkerGauges(pools, telemetry).run(models, interval_s),
            upkeep.run(models, interval_s),
            stored.run(),
        )
    )
    settlements = Settlements(settler, f"router {config.listen}")
    stack.push_async_callback(settlements.wait_until_idle)
    allowances = Allowances(ledger.quotas, telemetry, config.tiers_of)
    stack.push_async_callback(allowances.wait_until_idle)
    return _Connections(
        ledger=ledger,
        settlements=settlements,
        pools=pools,
        predictions=predictions,
        limits=limits,
        shadowing=shadowing,
        upkeep=upkeep,
        allowances=allowances,
    )


def _preparing(config: RouterConfig, connections: _Connections) -> Callable[[], Awaitable[None]]:
    async def prepare() -> None:
        await connections.pools.wait_until_ready()
        await connections.upkeep.look(_served_models(config, connections.pools)())

    return prepare


def _service_parts(
    config: RouterConfig,
    connections: _Connections,
    telemetry: Telemetry,
    classifying: Classifying,
    tenants: Tenants,
) -> ServiceParts:
    rng = random.Random()
    limits = connections.limits
    parts = PipelineParts(
        allowances=connections.allowances,
        classifying=classifying,
        predictions=connections.predictions,
        limits=limits,
        dispatcher=_dispatcher(config, connections, limits, telemetry),
        replies=RecentReplies(config.reply_cache_size, config.reply_cache_ttl_s),
        shadowing=connections.shadowing,
        telemetry=telemetry,
    )
    return ServiceParts(
        pipeline=Pipeline(parts, _policies(config), rng, store_prompts=config.store_prompts),
        parser=QueryParser(
            config,
            _served_models(config, connections.pools),
            _coverage(config, classifying),
            _worth_tokens(config, classifying),
            rng,
        ),
        tenants=tenants,
        ledger=connections.ledger,
        telemetry=telemetry,
    )


def _dispatcher(
    config: RouterConfig, connections: _Connections, limits: CurrentLimits, telemetry: Telemetry
) -> Dispatcher:
    dispatcher_config = DispatcherConfig(
        tiers_of=config.tiers_of,
        max_failovers=config.max_failovers,
        answer_reserve_tokens=config.answer_reserve_tokens,
    )
    return Dispatcher(
        connections.pools, limits, connections.settlements, telemetry, dispatcher_config
    )


def _policies(config: RouterConfig) -> Callable[[str], PolicyConfig]:
    def policy_of(model: str) -> PolicyConfig:
        return PolicyConfig(
            tiers=config.tiers_of(model),
            default_tier=parse_tier(config.default_tier),
            exploration=config.exploration,
        )

    return policy_of


def _pools_config(config: RouterConfig) -> PoolsConfig:
    return PoolsConfig(
        targets={POOL_EASY: config.easy_workers, POOL_THINKING: config.thinking_workers},
        easy_cap_of=lambda model: config.tiers_of(model).easy_cap,
        resolve_interval_s=config.resolve_interval_s,
        dialler=sockets.worker_dialler(config),
    )


def _served_models(config: RouterConfig, pools: Pools) -> Callable[[], Sequence[str]]:
    return lambda: config.models or pools.models


def _segments(
    models: Callable[[], Sequence[str]],
    versions: Callable[[str], Sequence[str]],
    tenants: Tenants,
) -> Callable[[], list[Segment]]:
    """Asked anew each time: the served models and their classifiers change while it runs."""

    def segments() -> list[Segment]:
        return [
            Segment(model=model, version=version, tenant=tenant)
            for model in models()
            for version in versions(model)
            for tenant in tenants.names
        ]

    return segments


def _reading(
    predictions: Predictions, tenants: Tenants
) -> Callable[[str, Sequence[str]], Awaitable[None]]:
    """Reads what was observed under versions that are about to serve."""

    async def read(model: str, versions: Sequence[str]) -> None:
        segments = _segments(lambda: [model], lambda _: versions, tenants)
        await predictions.refresh(segments())

    return read


def _coverage(config: RouterConfig, classifying: Classifying) -> Callable[[str, str], float]:
    def coverage(model: str, request_id: str) -> float:
        is_cold = classifying.is_cold(model, request_id)
        return config.cold_coverage if is_cold else config.coverage

    return coverage


def _worth_tokens(config: RouterConfig, classifying: Classifying) -> Callable[[str, str], float]:
    def worth_tokens(model: str, request_id: str) -> float:
        # What the general classifier predicts is too unsure to give a request up for.
        is_cold = classifying.is_cold(model, request_id)
        return math.inf if is_cold else config.worth_tokens or math.inf

    return worth_tokens


async def _open_ledger(config: RouterConfig, stack: AsyncExitStack) -> Ledger:
    try:
        ledger = Ledger.from_url(config.redis_url, _ledger_config(config))
    except ValueError as error:
        raise ConfigError(f"ROUTER_REDIS_URL: {error}") from error
    stack.push_async_callback(ledger.close)
    give_up_at_s = time.monotonic() + config.redis_wait_s
    while True:
        try:
            await ledger.ping()
            return ledger
        except LedgerUnavailable as error:
            if time.monotonic() >= give_up_at_s:
                raise ConfigError(f"ROUTER_REDIS_URL: no Redis answers there: {error}") from error
        await asyncio.sleep(_REDIS_RETRY_S)


def _ledger_config(config: RouterConfig) -> LedgerConfig:
    return LedgerConfig(trace_life_s=config.trace_life_s, max_traces=config.max_traces)


def _open_spool(config: RouterConfig) -> Spool:
    try:
        return Spool(Path(config.spool_dir))
    except (OSError, SpoolInUse) as error:
        raise ConfigError(f"ROUTER_SPOOL_DIR: {error}") from error
