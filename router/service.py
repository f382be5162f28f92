"""The Reasoner service. It only translates: credentials, messages, errors to statuses."""

import logging
import math
import time
from collections.abc import AsyncIterator, Callable
from contextlib import aclosing
from dataclasses import dataclass
from typing import Any, Final, NoReturn, TypeVar

import grpc
from google.protobuf.message import DecodeError, Message

from ponder import rpc
from ponder.feedback import Feedback
from ponder.ledger import Ledger, LedgerUnavailable
from ponder.tracing import UNTRACED, Trace
from ponder.v1 import reasoner_pb2 as pb
from router import spans
from router.config import RouterConfig
from router.decisions import Finished, Reply
from router.errors import InvalidRequest, LedgerGone, RouterError
from router.messages import decision_message, event_message, reply_message
from router.pipeline import Pipeline
from router.queries import Origin, Query, QueryParser, check_request_id, check_score
from router.telemetry import Telemetry
from router.tenants import Tenant, Tenants

_log = logging.getLogger(__name__)
SERVICE: Final = pb.DESCRIPTOR.services_by_name["Reasoner"].full_name
Context = grpc.aio.ServicerContext[Any, Any]
M = TypeVar("M", bound=Message)
# So that a reply made at the last moment still reaches the caller.
_MARGIN_S: Final = 0.01


@dataclass(frozen=True, slots=True, kw_only=True)
class ServiceParts:
    """What the service translates to."""

    pipeline: Pipeline
    parser: QueryParser
    tenants: Tenants
    ledger: Ledger
    telemetry: Telemetry


class ReasonerService:
    """Reason, ReasonStream, Plan and Feedback. A request is None when its bytes were unreadable."""

    def __init__(self, parts: ServiceParts, config: RouterConfig) -> None:
        self._parts = parts
        self._tiers_of = config.tiers_of
        self._max_duration_s = config.max_duration_s

    async def Reason(self, request: pb.ReasonRequest | None, context: Context) -> pb.ReasonReply:
        with self._traced("Reason", context) as trace:
            try:
                reply = await self._answer(self._query(_readable(request), context, trace))
                return reply_message(reply, self._tiers_of)
            except RouterError as error:
                await self._refuse(error, context, trace)

    async def ReasonStream(
        self, request: pb.ReasonRequest | None, context: Context
    ) -> AsyncIterator[pb.ReasonEvent]:
        with self._traced("ReasonStream", context) as trace:
            try:
                query = self._query(_readable(request), context, trace)
                async with aclosing(self._parts.pipeline.reason(query)) as events:
                    async for event in events:
                        yield event_message(event, self._tiers_of)
            except RouterError as error:
                await self._refuse(error, context, trace)

    async def Plan(self, request: pb.PlanRequest | None, context: Context) -> pb.PlanReply:
        with self._traced("Plan", context) as trace:
            try:
                query = self._query(_readable(request).request, context, trace)
                decision = self._parts.pipeline.decide(query)
                return pb.PlanReply(decision=decision_message(decision, self._tiers_of))
            except RouterError as error:
                await self._refuse(error, context, trace)

    async def Feedback(
        self, request: pb.FeedbackRequest | None, context: Context
    ) -> pb.FeedbackReply:
        try:
            await self._record(_readable(request), self._tenant(context))
            return pb.FeedbackReply()
        except RouterError as error:
            await self._refuse(error, context)

    async def _answer(self, query: Query) -> Reply:
        async with aclosing(self._parts.pipeline.reason(query)) as events:
            async for event in events:
                if isinstance(event, Finished):
                    return event.reply
        raise AssertionError("the pipeline ends with a reply or an error")

    def _traced(self, method: str, context: Context) -> Trace:
        return spans.of_call(self._parts.telemetry.tracing, method, context.invocation_metadata())

    def _query(self, request: pb.ReasonRequest, context: Context, trace: Trace) -> Query:
        now_s = time.monotonic()
        left_s = rpc.remaining_s(context, _MARGIN_S)
        duration_s = self._max_duration_s if left_s is None else min(left_s, self._max_duration_s)
        origin = Origin(
            tenant=self._tenant(context),
            received_at_s=now_s,
            deadline_at_s=now_s + duration_s,
            trace=trace,
        )
        return self._parts.parser.parse(request, origin)

    def _tenant(self, context: Context) -> Tenant:
        metadata = context.invocation_metadata() or ()
        return self._parts.tenants.authenticate(
            {key: value for key, value in metadata if isinstance(value, str)}, _identities(context)
        )

    async def _record(self, request: pb.FeedbackRequest, tenant: Tenant) -> None:
        check_request_id(request.request_id)
        check_score(request)
        feedback = Feedback(
            tenant=tenant.name,
            request_id=request.request_id,
            correct=request.correct,
            score=request.score if request.HasField("score") else None,
            given_at_s=time.time(),
        )
        try:
            await self._parts.ledger.record_feedback(feedback)
        except LedgerUnavailable as error:
            raise LedgerGone("feedback cannot be stored now; send it again later") from error

    async def _refuse(
        self, error: RouterError, context: Context, trace: Trace = UNTRACED
    ) -> NoReturn:
        trace.fail(error.status)
        self._parts.telemetry.count_error(error.status)
        _log.info("request refused: %s", error.status)
        hint = error.retry_after_s
        trailing = () if hint is None else ((rpc.RETRY_AFTER_KEY, str(math.ceil(hint * 1e3))),)
        await context.abort(grpc.StatusCode[error.status], str(error), trailing)


def _identities(context: Context) -> list[str]:
    """Names in the client's certificate; none unless it had to show one."""
    found = context.peer_identities() or ()
    return [name.decode(errors="replace") for name in found]


def add_to_server(service: ReasonerService, server: grpc.aio.Server) -> None:
    """Registers the four methods by hand: the generated code would turn unreadable bytes, such as
    a prompt that is not UTF-8, into INTERNAL without naming the reason.
    """
    unary, stream = grpc.unary_unary_rpc_method_handler, grpc.unary_stream_rpc_method_handler
    handlers = {
        "Reason": _handler(unary, service.Reason, pb.ReasonRequest),
        "ReasonStream": _handler(stream, service.ReasonStream, pb.ReasonRequest),
        "Plan": _handler(unary, service.Plan, pb.PlanRequest),
        "Feedback": _handler(unary, service.Feedback, pb.FeedbackRequest),
    }
    server.add_generic_rpc_handlers((grpc.method_handlers_generic_handler(SERVICE, handlers),))


def _handler(make: Any, behavior: Any, request_type: type[Message]) -> Any:
    return make(
        behavior,
        request_deserializer=_reader(request_type),
        response_serializer=lambda reply: reply.SerializeToString(),
    )


def _reader(request_type: type[M]) -> Callable[[bytes], M | None]:
    def read(serialized: bytes) -> M | None:
        try:
            return request_type.FromString(serialized)
        except DecodeError:
            return None

    return read


def _readable(request: M | None) -> M:
    if request is None:
        raise InvalidRequest(
            "request: its bytes are no valid message; every text (prompt, messages, request_id, "
            "model) must be UTF-8"
        )
    return request
