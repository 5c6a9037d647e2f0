"""Services together, on real servers."""
