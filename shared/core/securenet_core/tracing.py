"""OpenTelemetry traces and metrics of calls, sampled at the head: an unsampled call costs one comparison."""

from __future__ import annotations

import random
from collections.abc import Callable
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from opentelemetry import trace
from opentelemetry.propagate import extract
from opentelemetry.sdk.resources import SERVICE_NAME, Resource
from opentelemetry.sdk.trace import TracerProvider
from opentelemetry.sdk.trace.export import BatchSpanProcessor, SpanExporter
from opentelemetry.sdk.trace.sampling import ALWAYS_ON
from opentelemetry.trace import SpanKind, StatusCode

from securenet_core.exceptions import Code, SettingsError
from securenet_core.settings import ServerSettings

if TYPE_CHECKING:
    from opentelemetry.trace import Span

#: Codes that are the server's fault (OpenTelemetry's semantic conventions for gRPC server spans).
_SERVER_FAULTS = frozenset(
    {Code.UNKNOWN, Code.DEADLINE_EXCEEDED, Code.UNIMPLEMENTED, Code.INTERNAL, Code.UNAVAILABLE, Code.DATA_LOSS}
)


@dataclass(frozen=True, slots=True)
class CallSpan:
    """A span of one call that was sampled."""

    span: Span

    @property
    def trace_id(self) -> str:
        """The trace's id, 32 hexadecimal digits."""
        return format(self.span.get_span_context().trace_id, "032x")

    def end(self, code: Code) -> None:
        """Ends the span with the call's status."""
        self.span.set_attribute("rpc.grpc.status_code", int(code))
        if code in _SERVER_FAULTS:
            self.span.set_status(StatusCode.ERROR, code.name)
        self.span.end()


class CallTracer:
    """Starts a span for the calls that a sampled parent or chance picks.

    Args:
        ratio: part of the calls without a parent that are picked, 0–1.
        provider: where spans go.
        chance: uniform numbers from 0 to 1.
    """

    def __init__(self, ratio: float, provider: TracerProvider, *, chance: Callable[[], float] = random.random) -> None:
        self._ratio = ratio
        self._provider = provider
        self._chance = chance
        self._tracer = provider.get_tracer("securenet_core")

    @classmethod
    def from_settings(cls, settings: ServerSettings, service: str) -> CallTracer | None:
        """The tracer that `settings` describe; None where no collector is named.

        Raises:
            SettingsError: a collector is named and the exporter is not installed.
        """
        if settings.otlp_endpoint is None:
            return None
        try:
            from opentelemetry.exporter.otlp.proto.grpc.trace_exporter import (  # noqa: PLC0415 - an extra
                OTLPSpanExporter,
            )
        except ImportError:
            raise SettingsError("otlp_endpoint is set; install securenet-core[otlp] to export traces") from None
        return cls.exporting_to(OTLPSpanExporter(endpoint=settings.otlp_endpoint), settings.trace_ratio, service)

    @classmethod
    def exporting_to(cls, exporter: SpanExporter, ratio: float, service: str) -> CallTracer:
        """A tracer whose spans go to `exporter` in batches."""
        provider = TracerProvider(resource=Resource.create({SERVICE_NAME: f"securenet-{service}"}), sampler=ALWAYS_ON)
        provider.add_span_processor(BatchSpanProcessor(exporter))
        return cls(ratio, provider)

    def start(self, method: str, metadata: Any) -> CallSpan | None:
        """A span, or None for a call that is not sampled."""
        parent = None
        for key, value in metadata or ():
            if key == "traceparent":
                parent = extract({"traceparent": value})
                if not trace.get_current_span(parent).get_span_context().trace_flags.sampled:
                    return None
                break
        if parent is None and self._chance() >= self._ratio:
            return None
        service, _, name = method.partition("/")
        span = self._tracer.start_span(
            method,
            context=parent,
            kind=SpanKind.SERVER,
            attributes={"rpc.system": "grpc", "rpc.service": service, "rpc.method": name},
        )
        return CallSpan(span)

    def close(self) -> None:
        """Sends what is pending."""
        self._provider.shutdown()
