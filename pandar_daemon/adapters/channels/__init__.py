"""The channels messages go through."""
