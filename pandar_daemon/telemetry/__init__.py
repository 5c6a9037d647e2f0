"""How Pandar is seen from outside: log lines, metrics, traces. See docs/reference/telemetry.md."""

from pandar_daemon.telemetry.logs import configure_logs, never_log, scrub
from pandar_daemon.telemetry.metrics import Metrics
from pandar_daemon.telemetry.trace import Traceparent, valid_traceparent

__all__ = ["Metrics", "Traceparent", "configure_logs", "never_log", "scrub", "valid_traceparent"]
