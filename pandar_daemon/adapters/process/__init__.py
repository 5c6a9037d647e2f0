"""Process trees: a terminal, a guardian, a spool."""
