"""The rules, as pure functions over data: no I/O, no clock, no randomness."""
