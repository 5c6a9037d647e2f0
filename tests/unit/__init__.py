"""Rules and pure functions: no server, no process."""
