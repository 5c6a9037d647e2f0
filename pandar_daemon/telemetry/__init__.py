"""How Pandar is seen from outside: log lines, metrics, traces. See docs/reference/telemetry.md."""

from pandar_daemon.telemetry.logs import configure_logs, scrub
from pandar_daemon.telemetry.metrics import Metrics
from pandar_daemon.telemetry.trace import Traceparent, valid_traceparent

__all__ = ["Metrics", "Traceparent", "configure_logs", "scrub", "valid_traceparent"]
