"""Numbered SQL files, applied in order by ``pandar migrate``."""
