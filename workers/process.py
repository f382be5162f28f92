"""The worker's life: connect, load, serve, drain. Called by __main__; picks the parts.

Whatever can fail fast fails first: Redis, the spool and the port before the checkpoint.
"""

import asyncio
import contextlib
import logging
import math
import socket
from collections.abc import AsyncIterator, Mapping
from contextlib import AsyncExitStack, asynccontextmanager
from dataclasses import dataclass

import grpc
from opentelemetry.metrics import MeterProvider
from opentelemetry.trace import NoOpTracerProvider, TracerProvider

from ponder import rpc, tasks
from ponder.environment import ConfigError
from ponder.exporters import meter_provider, tracer_provider
from ponder.ledger import Ledger, LedgerConfig, LedgerUnavailable
from ponder.settler import Settler
from ponder.spool import Spool
from ponder.tls import ServerCertificates, TlsFiles
from ponder.tracing import Tracing
from ponder.v1 import worker_pb2, worker_pb2_grpc
from workers.accounts import Accounts
from workers.backend import Backend, PromptEncoder
from workers.config import WorkerConfig
from workers.early_exit import ExitRules
from workers.early_exit.rules import FILE_NAME
from workers.engine import EngineRequest, EngineStopped, SpecialTokens
from workers.engine.models.loader import load_spec
from workers.engine_host import early_exit_of, open_engine
from workers.load import LoadFeed
from workers.prompts import Prompts
from workers.pulse import Pulse
from workers.sampling_defaults import SamplingDefaults
from workers.segment import Workshop
from workers.segments import Segments
from workers.service import ENDLESS_METHODS, SERVICE, WorkerService
from workers.telemetry import WorkerTelemetry
from workers.tokenizer import Tokenizer
from workers.validation import Limits

_SERVICE = "ponder-worker"
_ENGINE_CHECK_S = 0.1
_log = logging.getLogger(__name__)


@dataclass(frozen=True, slots=True, kw_only=True)
class Worker:
    """The parts of a worker that is ready to be started."""

    server: rpc.RpcServer
    engine: Backend
    feed: LoadFeed
    segments: Segments
    ledger: Ledger


async def run(config: WorkerConfig, environ: Mapping[str, str]) -> None:
    """Serves until SIGTERM, then drains.

    Raises ConfigError, LedgerUnavailable, SpoolInUse, OSError, BindError or CheckpointError when it
    cannot start, EngineStopped when the engine dies.
    """
    instance = config.name or ""
    meters = meter_provider(environ, _SERVICE, instance)
    tracers = tracer_provider(environ, _SERVICE, instance)
    async with open_worker(config, meters, tracers) as worker:
        await _serve(worker)


@asynccontextmanager
async def open_worker(
    config: WorkerConfig,
    meters: MeterProvider | None = None,
    tracers: TracerProvider | None = None,
) -> AsyncIterator[Worker]:
    """A worker whose server is bound but not started; closing it waits for every settlement."""
    async with AsyncExitStack() as stack:
        ledger = _open_ledger(config)
        stack.push_async_callback(ledger.close)
        await ledger.ping()
        settler = Settler(ledger, stack.enter_context(Spool(config.spool_dir)))
        server = rpc.RpcServer(_server_config(config))
        engine, prompts, limits, max_running = await asyncio.to_thread(_open, config)
        await stack.enter_async_context(_replaying(settler))
        await stack.enter_async_context(engine)
        fixed = _fixed_load(config, limits, max_running)
        feed = LoadFeed(engine, fixed, is_draining=lambda: server.is_draining)
        name = config.name or f"{socket.gethostname()}:{server.port}"
        tracing = Tracing(tracers or NoOpTracerProvider())
        telemetry = WorkerTelemetry(name, config.pool, meters, tracing)
        telemetry.observe(feed.current)
        workshop = Workshop(
            engine=engine,
            prompts=prompts,
            accounts=Accounts(settler, name),
            feed=feed,
            telemetry=telemetry,
        )
        segments = Segments(workshop)
        stack.push_async_callback(segments.wait_until_idle)
        pulse = Pulse()
        stack.push_async_callback(tasks.stop, [asyncio.create_task(pulse.run())])
        service = WorkerService(
            segments, feed, limits, lambda: server.gives_up_calls or pulse.has_just_woken()
        )
        worker_pb2_grpc.add_WorkerServicer_to_server(service, server.grpc_server)
        yield Worker(server=server, engine=engine, feed=feed, segments=segments, ledger=ledger)


def _fixed_load(config: WorkerConfig, limits: Limits, max_running: int) -> worker_pb2.Load:
    fixed = worker_pb2.Load(
        models=[limits.model],
        max_running=max_running,
        max_thinking_budget=limits.max_thinking_budget,
    )
    if config.upstream_url is None:  # which orders its requests by itself
        fixed.probation_tokens = config.probation_tokens
        fixed.demoted_slots = math.ceil(config.demoted_floor * max_running)
    return fixed


def _open_ledger(config: WorkerConfig) -> Ledger:
    try:
        return Ledger.from_url(config.redis_url, _ledger_config(config))
    except ValueError as error:
        raise ConfigError(f"WORKER_REDIS_URL: {error}") from error


def _ledger_config(config: WorkerConfig) -> LedgerConfig:
    return LedgerConfig(
        timeout_s=config.ledger_timeout_s,
        trace_life_s=config.trace_life_s,
        max_traces=config.max_traces,
    )


def _server_config(config: WorkerConfig) -> rpc.ServerConfig:
    return rpc.ServerConfig(
        address=config.listen,
        services=(SERVICE,),
        endless_methods=ENDLESS_METHODS,
        reflection=config.reflection,
        credentials=_credentials(config),
        notice_s=config.notice_s,
        grace_s=config.grace_s,
    )


def _credentials(config: WorkerConfig) -> grpc.ServerCredentials | None:
    if config.tls_dir is None:
        return None
    files = TlsFiles.of_listener(str(config.tls_dir), "WORKER_TLS_DIR", asks_clients=True)
    return ServerCertificates(files).credentials()


def _open(config: WorkerConfig) -> tuple[Backend, PromptEncoder, Limits, int]:
    if config.upstream_url is None:
        return *_load(config), config.max_running
    # Here, because only who has an upstream needs an HTTP client.
    from workers.upstream.open import open_upstream

    engine, prompts, limits = open_upstream(config, config.upstream_url)
    return engine, prompts, limits, engine.max_running


def _load(config: WorkerConfig) -> tuple[Backend, PromptEncoder, Limits]:
    model_dir = config.checkpoint_dir
    tokenizer = Tokenizer(model_dir)
    rules = ExitRules.load(model_dir)
    separators = (rules or ExitRules()).separators
    tokens = tokenizer.special_tokens(config.wrap_up_text, separators)
    prompts = Prompts(tokenizer, SamplingDefaults.load(model_dir))
    limits = _limits(config, tokens)
    controller = early_exit_of(config, tokenizer, rules)
    engine = open_engine(config, tokens, controller)
    if controller is None and config.early_exit == "auto":
        _log.info(
            "thinking does not stop early: %s has no %s; `ponder calibrate` writes one",
            model_dir,
            FILE_NAME,
        )
    return engine, prompts, limits


def _limits(config: WorkerConfig, tokens: SpecialTokens) -> Limits:
    markers = (tokens.think_open_id, tokens.think_close_id)
    return Limits(
        model=config.model,
        max_thinking_budget=config.thinking_budget_cap,
        max_answer_tokens=config.max_answer_tokens,
        max_prompt_bytes=config.max_prompt_bytes,
        vocab_size=load_spec(config.checkpoint_dir).vocab_size,
        marker_ids=frozenset(marker for marker in markers if marker is not None),
    )


@asynccontextmanager
async def _replaying(settler: Settler) -> AsyncIterator[None]:
    """Replays the spool in the background, and once more at the end; what is left stays on disk."""
    task = asyncio.create_task(settler.run())
    try:
        yield
    finally:
        await tasks.stop([task])
        with contextlib.suppress(LedgerUnavailable, OSError):
            await settler.replay()


async def _serve(worker: Worker) -> None:
    """Serves until a signal, or until the engine dies: then the streams fail and it raises."""
    server, engine = worker.server, worker.engine
    serving = asyncio.create_task(rpc.serve(server, _warm_up(engine)))
    watching = asyncio.create_task(_watch(worker))
    try:
        await asyncio.wait((serving, watching), return_when=asyncio.FIRST_COMPLETED)
        if not serving.done():
            await server.drain()
            serving.cancel()
        with contextlib.suppress(asyncio.CancelledError):
            await serving
        if watching.done():
            raise EngineStopped("the engine has failed; see the log") from engine.failure
    finally:
        watching.cancel()


async def _watch(worker: Worker) -> None:
    """Health and load follow the engine's. Returns when the engine has ended."""
    was_well = True
    # The engine tells its requests that it has ended, but there may be none.
    while worker.engine.is_running:
        if (is_well := worker.engine.is_well) != was_well:
            was_well = is_well
            worker.feed.notify()
            _log.warning("the engine is %s", "well again" if is_well else "not well")
        await worker.server.follow(is_well)
        await asyncio.sleep(_ENGINE_CHECK_S)


async def _warm_up(engine: Backend) -> None:
    """One request of one token, so that the first caller does not pay for first-time work."""
    request = EngineRequest(
        request_id="warm-up", prompt_ids=(0,), thinking_budget=1, max_answer_tokens=1
    )
    async for _ in engine.submit(request):
        pass
