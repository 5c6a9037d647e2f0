"""Ports on NATS, by nats-py; its pitfalls end here."""
