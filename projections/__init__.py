"""Read models as pure functions: ``project(recorded) -> [Change]``."""
