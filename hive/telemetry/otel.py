"""The tracer of a process. This is the only place, beside `meters`, that knows OpenTelemetry."""

from __future__ import annotations

import hashlib
import importlib.metadata
import os
import socket
import threading
import uuid
from collections.abc import Iterator
from contextlib import contextmanager
from contextvars import ContextVar
from typing import TYPE_CHECKING, Any

import structlog
from opentelemetry import trace
from opentelemetry.context import Context
from opentelemetry.exporter.otlp.proto.http.trace_exporter import OTLPSpanExporter
from opentelemetry.sdk.resources import Resource
from opentelemetry.sdk.trace import SpanLimits, TracerProvider
from opentelemetry.sdk.trace.export import BatchSpanProcessor
from opentelemetry.sdk.trace.id_generator import RandomIdGenerator
from opentelemetry.sdk.trace.sampling import ALWAYS_OFF, ALWAYS_ON, Decision, Sampler, SamplingResult
from opentelemetry.trace import NonRecordingSpan, Span, SpanContext, SpanKind, Status, StatusCode, TraceFlags

from bees.core import spans
from bees.core.errors import SourceError
from hive.errors import HiveError
from hive.settings import environment

if TYPE_CHECKING:
    from bees.core.spans import Attributes, Tell
    from hive.flight.task import Task
    from hive.ledger.hints import Hint

log = structlog.get_logger()

DELAY = 1000
"""Milliseconds between two exports, where OTEL_BSP_SCHEDULE_DELAY does not say otherwise."""
_NAMES = {"collect": "connector.execute", "process": "nectar.process"}
_BITS = (1 << 56) - 1
"""The random bits of a trace id: https://www.w3.org/TR/trace-context-2/#random-trace-id-flag"""

_in_hand: ContextVar[tuple[uuid.UUID, int, Span] | None] = ContextVar("hive_task_span", default=None)


class _Ids(RandomIdGenerator):
    """Random ones, but for a flight's first span, whose ids follow from the flight."""

    def __init__(self) -> None:
        self.next = threading.local()

    def generate_trace_id(self) -> int:
        chosen: uuid.UUID | None = getattr(self.next, "flight", None)
        return chosen.int if chosen is not None else super().generate_trace_id()

    def generate_span_id(self) -> int:
        chosen: uuid.UUID | None = getattr(self.next, "flight", None)
        return root_of(chosen) if chosen is not None else super().generate_span_id()


class _Share(Sampler):
    """A share of all traces, the same ones in every process: only the trace's id decides."""

    def __init__(self, share: float) -> None:
        self._below = round(share * (_BITS + 1))

    def should_sample(
        self,
        parent_context: Context | None,  # noqa: ARG002 - OpenTelemetry's signature
        trace_id: int,
        name: str,  # noqa: ARG002
        kind: SpanKind | None = None,  # noqa: ARG002
        attributes: Any = None,
        links: Any = None,  # noqa: ARG002
        trace_state: Any = None,  # noqa: ARG002
    ) -> SamplingResult:
        keep = trace_id & _BITS < self._below
        return SamplingResult(Decision.RECORD_AND_SAMPLE if keep else Decision.DROP, attributes)

    def get_description(self) -> str:
        return f"Share{{{self._below / (_BITS + 1):g}}}"


def root_of(flight: uuid.UUID) -> int:
    """The id of a flight's first span."""
    return int.from_bytes(hashlib.blake2b(flight.bytes, digest_size=8).digest()) or 1


class Tracing:
    """Collects the spans of this process, and sends them from a thread of its own."""

    def __init__(self) -> None:
        self._ids = _Ids()
        processor = BatchSpanProcessor(
            OTLPSpanExporter(),
            schedule_delay_millis=None if environment().get("OTEL_BSP_SCHEDULE_DELAY") else DELAY,
        )
        self._provider = TracerProvider(
            resource=resource(), id_generator=self._ids, sampler=_sampler(), span_limits=SpanLimits(max_events=0)
        )
        self._provider.add_span_processor(processor)
        self._tracer = self._provider.get_tracer("hive", importlib.metadata.version("worker-bees"))

    @contextmanager
    def span(self, name: str, attributes: Attributes) -> Iterator[Tell]:
        """For what bees do: below the task in hand."""
        kind = SpanKind.PRODUCER if name.endswith(".publish") else SpanKind.CLIENT
        with self._open(name, None, attributes, kind) as span:
            yield span.set_attributes

    @contextmanager
    def task(self, task: Task, traceparent: str) -> Iterator[None]:
        """A claimed task; `traceparent` is what came with its message."""
        about: Attributes = {
            "connector.name": task.bee_name, "retry.attempt": task.attempt, "hive.flight": str(task.flight),
            "hive.task": task.ref, "hive.jar": task.jar_name, "hive.stage": task.stage,
        }  # fmt: skip
        above = _below(parsed(traceparent, task.flight))
        with self._open(_NAMES[task.stage], above, about, SpanKind.CONSUMER) as span:
            token = _in_hand.set((task.flight, task.id, span))
            try:
                yield
            finally:
                _in_hand.reset(token)

    @contextmanager
    def published(self, hint: Hint) -> Iterator[str]:
        """A hint on its way; gives its `traceparent`. It stands below the task that made its task, if that sends it."""
        mine = _in_hand.get()
        parent = _root(hint.flight)
        if mine is not None and mine[0] == hint.flight and mine[1] == hint.parent:
            parent = mine[2].get_span_context()
        about: Attributes = {
            "messaging.system": "redis", "messaging.destination": hint.queue, "messaging.message_id": hint.celery_id,
            "hive.task": hint.ref,
        }  # fmt: skip
        with self._open("connector.message_queue.publish", _below(parent), about, SpanKind.PRODUCER) as span:
            own = span.get_span_context()
            yield f"00-{own.trace_id:032x}-{own.span_id:016x}-{int(own.trace_flags):02x}"

    def note(self, attributes: Attributes) -> None:
        if (mine := _in_hand.get()) is not None:
            mine[2].set_attributes(attributes)

    def failed(self, code: str) -> None:
        if (mine := _in_hand.get()) is not None:
            mine[2].set_attribute("error.type", code)
            mine[2].set_status(Status(StatusCode.ERROR, code))

    def slot(self, flight: uuid.UUID, attributes: Attributes) -> None:
        self._tracer.start_span("hive.slot", _below(_root(flight)), attributes=attributes).end()

    def flight(self, flight: uuid.UUID, began: int, ended: int, attributes: Attributes) -> None:
        """The whole of it, once it is over; times in Unix nanoseconds."""
        self._ids.next.flight = flight
        try:
            span = self._tracer.start_span("hive.flight", Context(), attributes=attributes, start_time=began)
        finally:
            self._ids.next.flight = None
        if code := attributes.get("error.type"):
            span.set_status(Status(StatusCode.ERROR, str(code)))
        span.end(ended)

    def stop(self) -> None:
        self._provider.shutdown()

    @contextmanager
    def _open(self, name: str, above: Context | None, attributes: Attributes, kind: SpanKind) -> Iterator[Span]:
        """An error that leaves the block is told by its code or class; its text may hold anything."""
        with self._tracer.start_as_current_span(
            name, above, kind, attributes, record_exception=False, set_status_on_exception=False
        ) as span:
            try:
                yield span
            except Exception as error:
                code = error.code if isinstance(error, SourceError | HiveError) else type(error).__name__
                span.set_attribute("error.type", code)
                span.set_status(Status(StatusCode.ERROR, code))
                raise


def parsed(traceparent: str, flight: uuid.UUID) -> SpanContext:
    """The span that a header names. What is no header of this flight is the flight's first span."""
    version, _, rest = traceparent.partition("-")
    trace_id, _, rest = rest.partition("-")
    span_id, _, flags = rest.partition("-")
    try:
        number = int(span_id, 16)
        if version == "ff" or len(span_id) != 16 or not number or int(trace_id, 16) != flight.int:
            return _root(flight)
        return SpanContext(flight.int, number, is_remote=True, trace_flags=TraceFlags(int(flags[:2], 16)))
    except ValueError:
        return _root(flight)


def _root(flight: uuid.UUID) -> SpanContext:
    return SpanContext(flight.int, root_of(flight), is_remote=True, trace_flags=TraceFlags(TraceFlags.SAMPLED))


def _below(parent: SpanContext) -> Context:
    return trace.set_span_in_context(NonRecordingSpan(parent), Context())


def _sampler() -> Sampler:
    """OTEL_TRACES_SAMPLER. The flight alone decides, so that none is sent in part."""
    name = environment().get("OTEL_TRACES_SAMPLER", "").strip().lower().removeprefix("parentbased_")
    if name == "always_off":
        return ALWAYS_OFF
    if name != "traceidratio":
        return ALWAYS_ON
    try:
        share = float(environment().get("OTEL_TRACES_SAMPLER_ARG") or 1)
    except ValueError:
        log.warning("telemetry.bad_share", setting="OTEL_TRACES_SAMPLER_ARG", expected="a number from 0 to 1")
        share = 1.0
    return _Share(min(max(share, 0.0), 1.0))


def resource() -> Resource:
    """Who sends. OTEL_SERVICE_NAME and OTEL_RESOURCE_ATTRIBUTES stand above."""
    named = {} if environment().get("OTEL_SERVICE_NAME") else {"service.name": "worker-bees"}
    version = importlib.metadata.version("worker-bees")
    instance = f"{socket.gethostname()}:{os.getpid()}"
    return Resource.create({**named, "service.version": version, "service.instance.id": instance})


_current: tuple[int, Tracing] | None = None
_lock = threading.Lock()


def tracing() -> Tracing:
    """That of this process: a child made by fork gets its own, with a thread of its own."""
    global _current  # noqa: PLW0603 - one per process is the point
    with _lock:
        if _current is None or _current[0] != os.getpid():
            _current = (os.getpid(), Tracing())
            spans.install(_current[1])
        return _current[1]


os.register_at_fork(after_in_child=_lock._at_fork_reinit)  # type: ignore[attr-defined]  # noqa: SLF001 - may be held
