"""The outside world: each module puts one technology behind a port."""
