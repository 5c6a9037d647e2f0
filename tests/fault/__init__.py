"""Real processes killed under load; afterwards everything is checked."""
