"""What Prometheus learns of the HTTP API; routes are templates, so that labels stay few."""

from __future__ import annotations

from typing import Final

from prometheus_client import Counter, Gauge, Histogram

REQUESTS: Final = Counter(
    "pandar_http_requests_total", "Requests answered.", ["method", "route", "status"]
)
DURATION: Final = Histogram(
    "pandar_http_request_duration_seconds", "Time to the end of an answer.", ["method", "route"]
)
STREAMS: Final = Gauge("pandar_http_streams", "Open event and output streams.")


def served(method: str, route: str, status: int, seconds: float) -> None:
    """Count one request."""
    REQUESTS.labels(method, route, str(status)).inc()
    DURATION.labels(method, route).observe(seconds)
