"""The box a task runs in: what it sees, what it may do, and how it is known to hold."""
