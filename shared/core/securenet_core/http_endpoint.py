"""`/metrics` for Prometheus and `/health` for people, beside the gRPC port."""

from __future__ import annotations

import json
import threading
from http import HTTPStatus
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any

from prometheus_client.exposition import CONTENT_TYPE_LATEST, generate_latest
from prometheus_client.registry import CollectorRegistry

from securenet_core.health import HealthMonitor


class HttpEndpoint:
    """A small HTTP server in a thread of its own.

    Args:
        host: address to listen on.
        port: port; 0 takes a free one.
        registry: what `/metrics` shows.
        health: what `/health` shows.

    Raises:
        OSError: the port is taken.
    """

    def __init__(self, host: str, port: int, registry: CollectorRegistry, health: HealthMonitor) -> None:
        class Handler(BaseHTTPRequestHandler):
            timeout = 5.0  # a peer that sends nothing must not hold a thread

            def do_GET(self) -> None:
                if self.path == "/metrics":
                    self._answer(HTTPStatus.OK, CONTENT_TYPE_LATEST, generate_latest(registry))
                elif self.path == "/health":
                    status = HTTPStatus.OK if health.serving else HTTPStatus.SERVICE_UNAVAILABLE
                    self._answer(status, "application/json", json.dumps(health.report()).encode())
                else:
                    self._answer(HTTPStatus.NOT_FOUND, "text/plain", b"there are /metrics and /health\n")

            def _answer(self, status: HTTPStatus, content_type: str, body: bytes) -> None:
                self.send_response(status)
                self.send_header("Content-Type", content_type)
                self.send_header("Content-Length", str(len(body)))
                self.end_headers()
                self.wfile.write(body)

            def log_message(self, format: str, *args: Any) -> None:  # noqa: A002 - the base class names it so
                """Scrapes are not worth a line."""

        self._server = ThreadingHTTPServer((host, port), Handler)
        self._server.daemon_threads = True
        self._thread = threading.Thread(target=self._server.serve_forever, name="http", daemon=True)
        self._thread.start()

    @property
    def port(self) -> int:
        """The port that it listens on."""
        return int(self._server.server_address[1])

    def close(self) -> None:
        """Stops listening."""
        self._server.shutdown()
        self._server.server_close()
        self._thread.join()
