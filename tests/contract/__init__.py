"""Adapters and the log, each by one suite against the real thing."""
