"""The ``pandar`` command."""
