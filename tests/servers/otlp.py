"""A receiver of OTLP over HTTP, as a collector is one: it takes protobuf, and keeps what came."""

from __future__ import annotations

import gzip
import threading
from collections import defaultdict
from collections.abc import Iterator
from contextlib import contextmanager
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any

from opentelemetry.proto.collector.metrics.v1.metrics_service_pb2 import ExportMetricsServiceRequest
from opentelemetry.proto.collector.trace.v1.trace_service_pb2 import ExportTraceServiceRequest


class Collected:
    """What came so far; see `_span` for what a span is here."""

    def __init__(self) -> None:
        self.spans: list[dict[str, Any]] = []
        self.metrics: dict[str, Any] = {}
        self.raw: list[bytes] = []
        self.address = ""

    def take(self, path: str, body: bytes) -> bool:
        self.raw.append(body)
        if path == "/v1/traces":
            request = ExportTraceServiceRequest.FromString(body)
            for group in request.resource_spans:
                about = _plain(group.resource.attributes)
                for scope in group.scope_spans:
                    self.spans += [_span(span, about) for span in scope.spans]
            return True
        if path == "/v1/metrics":
            found = ExportMetricsServiceRequest.FromString(body)
            for of_resource in found.resource_metrics:
                for of_scope in of_resource.scope_metrics:
                    self.metrics |= {metric.name: metric for metric in of_scope.metrics}
            return True
        return False

    def traces(self) -> dict[str, list[dict[str, Any]]]:
        found = defaultdict(list)
        for span in self.spans:
            found[span["trace"]].append(span)
        return found


def _span(span: Any, about: dict[str, Any]) -> dict[str, Any]:
    return {
        "name": span.name, "trace": span.trace_id.hex(), "id": span.span_id.hex(), "parent": span.parent_span_id.hex(),
        "kind": span.kind, "service": about.get("service.name"), "process": about.get("service.instance.id"),
        "attributes": _plain(span.attributes), "error": span.status.message if span.status.code == 2 else None,
        "began": span.start_time_unix_nano, "ended": span.end_time_unix_nano, "events": list(span.events),
    }  # fmt: skip


def _plain(attributes: Any) -> dict[str, Any]:
    return {one.key: getattr(one.value, one.value.WhichOneof("value")) for one in attributes}


@contextmanager
def receiving() -> Iterator[Collected]:
    """A receiver on a free port of loopback; its base address is `address`."""
    collected = Collected()

    class Handler(BaseHTTPRequestHandler):
        def do_POST(self) -> None:
            body = self.rfile.read(int(self.headers["Content-Length"]))
            if self.headers.get("Content-Encoding") == "gzip":
                body = gzip.decompress(body)
            known = self.headers["Content-Type"] == "application/x-protobuf" and collected.take(self.path, body)
            self.send_response(200 if known else 400)
            self.send_header("Content-Length", "0")
            self.end_headers()

        def log_message(self, *_: object) -> None:
            """Say nothing."""

    server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
    collected.address = f"http://127.0.0.1:{server.server_address[1]}"
    thread = threading.Thread(target=server.serve_forever, daemon=True)
    thread.start()
    try:
        yield collected
    finally:
        server.shutdown()
        server.server_close()
        thread.join()
