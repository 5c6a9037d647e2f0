"""Ports on PostgreSQL, by asyncpg."""
