"""Builds the router from its configuration: the one place that picks the real parts."""

import math
import random
from collections.abc import AsyncIterator, Awaitable, Callable, Mapping
from contextlib import AsyncExitStack, asynccontextmanager
from dataclasses import dataclass
from typing import Final

from opentelemetry.metrics import MeterProvider
from opentelemetry.trace import NoOpTracerProvider, TracerProvider

from ponder import rpc, tasks
from ponder.exporters import meter_provider, tracer_provider
from ponder.ledger import Ledger
from ponder.rpc import RpcServer
from ponder.settler import Settler
from ponder.spool import Spool
from ponder.tracing import Tracing
from ponder.v1.budget_pb2 import POOL_EASY, POOL_THINKING
from ponder.v1.operations_pb2_grpc import add_OperationsServicer_to_server
from router import sockets
from router.allowance import Allowances
from router.classification import Classifying, load_classifiers
from router.config import RouterConfig
from router.dispatcher import Dispatcher, DispatcherConfig
from router.in_flight import InFlight
from router.limits import CurrentLimits
from router.operations import Observed, OperationsService
from router.outcome_gauges import OutcomeGauges
from router.overdue_charges import OverdueCharges
from router.pipeline import Pipeline, PipelineParts
from router.policy import PolicyConfig
from router.pools import Pools, PoolsConfig
from router.predictions import Predictions
from router.queries import QueryParser
from router.replies import RecentReplies
from router.served import reading, served_models, served_segments
from router.service import ReasonerService, ServiceParts, add_to_server
from router.settlements import Settlements
from router.shadowing import Shadowing
from router.storage import open_ledger, open_spool
from router.telemetry import Telemetry
from router.tenant_upkeep import TenantUpkeep, open_tenants
from router.tenants import Tenants
from router.tiers import parse_tier
from router.upkeep import ClassifierUpkeep, open_upkeep
from router.worker_gauges import WorkerGauges

_SERVICE: Final = "ponder-router"


@dataclass(frozen=True, slots=True, kw_only=True)
class Router:
    """A built router; its background work goes on while open_router is open."""

    server: RpcServer
    pools: Pools
    prepare: Callable[[], Awaitable[None]]
    """Returns when there are workers, and the classifiers that were rolled out are loaded."""


@dataclass(frozen=True, slots=True, kw_only=True)
class _Connections:
    """What holds sockets, files and tasks, and what more than one service looks at."""

    ledger: Ledger
    spool: Spool
    settlements: Settlements
    pools: Pools
    predictions: Predictions
    limits: CurrentLimits
    shadowing: Shadowing
    upkeep: ClassifierUpkeep
    outcomes: OutcomeGauges
    in_flight: InFlight
    allowances: Allowances


async def serve(config: RouterConfig, environ: Mapping[str, str]) -> None:
    """Runs the router until SIGTERM. Raises ConfigError, ponder.rpc.BindError."""
    meters, tracers = meter_provider(environ, _SERVICE), tracer_provider(environ, _SERVICE)
    async with open_router(config, meters, tracers) as router:
        await rpc.serve(router.server, router.prepare())


@asynccontextmanager
async def open_router(
    config: RouterConfig, meters: MeterProvider, tracers: TracerProvider | None = None
) -> AsyncIterator[Router]:
    """Everything built and connected; the server is bound, not started.

    Raises ConfigError, ponder.rpc.BindError.
    """
    tenants, classifying = open_tenants(config), Classifying(load_classifiers(config.classifier))
    telemetry = Telemetry(meters, Tracing(tracers or NoOpTracerProvider()))
    server = RpcServer(sockets.server_config(config))
    async with AsyncExitStack() as stack:
        connections = await _connect(config, tenants, classifying, telemetry, stack)
        parts = _service_parts(config, connections, telemetry, classifying, tenants)
        add_to_server(ReasonerService(parts, config), server.grpc_server)
        operations = _operations(config, connections, telemetry, classifying, tenants)
        add_OperationsServicer_to_server(operations, server.grpc_server)
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
    ledger = await open_ledger(config, stack)
    spool = stack.enter_context(open_spool(config))
    settler = Settler(ledger, spool)
    pools = Pools(_pools_config(config), random.Random())
    stack.push_async_callback(pools.close)
    predictions = Predictions(ledger, config.prior_weight, telemetry, config.tiers_of)
    limits = CurrentLimits(config, pools)
    shadowing = Shadowing(classifying, predictions, limits, _policies(config), telemetry)
    segments = served_segments(served_models(config, pools), classifying.versions, tenants)
    read = reading(predictions, tenants)
    upkeep = open_upkeep(config, ledger, classifying, read, shadowing, telemetry)
    outcomes = OutcomeGauges(ledger, telemetry)
    models, interval_s = served_models(config, pools), config.refresh_interval_s
    stored = TenantUpkeep(config, ledger, tenants)
    await stored.refresh()  # before the first call, not only soon after
    await stack.enter_async_context(
        tasks.running(
            pools.run(),
            settler.run(),
            predictions.run(segments, interval_s),
            outcomes.run(segments, interval_s),
            WorkerGauges(pools, telemetry).run(models, interval_s),
            upkeep.run(models, interval_s),
            OverdueCharges(ledger).run(models, interval_s),
            stored.run(),
        )
    )
    settlements = Settlements(settler, f"router {config.listen}")
    stack.push_async_callback(settlements.wait_until_idle)
    allowances = Allowances(ledger.quotas, telemetry, config.tiers_of)
    stack.push_async_callback(allowances.wait_until_idle)
    return _Connections(
        ledger=ledger,
        spool=spool,
        settlements=settlements,
        pools=pools,
        predictions=predictions,
        limits=limits,
        shadowing=shadowing,
        upkeep=upkeep,
        outcomes=outcomes,
        in_flight=InFlight(),
        allowances=allowances,
    )


def _preparing(config: RouterConfig, connections: _Connections) -> Callable[[], Awaitable[None]]:
    async def prepare() -> None:
        await connections.pools.wait_until_ready()
        await connections.upkeep.look(served_models(config, connections.pools)())

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
        in_flight=connections.in_flight,
        replies=RecentReplies(config.reply_cache_size, config.reply_cache_ttl_s),
        shadowing=connections.shadowing,
        telemetry=telemetry,
    )
    return ServiceParts(
        pipeline=Pipeline(parts, _policies(config), rng, store_prompts=config.store_prompts),
        parser=QueryParser(
            config,
            served_models(config, connections.pools),
            _coverage(config, classifying),
            _worth_tokens(config, classifying),
            rng,
        ),
        tenants=tenants,
        ledger=connections.ledger,
        telemetry=telemetry,
    )


def _operations(
    config: RouterConfig,
    connections: _Connections,
    telemetry: Telemetry,
    classifying: Classifying,
    tenants: Tenants,
) -> OperationsService:
    models = served_models(config, connections.pools)
    observed = Observed(
        recent=telemetry.recent,
        pools=connections.pools,
        classifying=classifying,
        predictions=connections.predictions,
        outcomes=connections.outcomes,
        in_flight=connections.in_flight,
        spool=connections.spool,
        models=models,
        segments=served_segments(models, classifying.versions, tenants),
        tiers_of=config.tiers_of,
    )
    has_tenants = bool(config.tenants_file) or config.stored_tenants
    return OperationsService(observed, config.operator_key_sha256, has_tenants=has_tenants)


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
