"""Servers that ``pandar up`` starts itself when none is given."""
