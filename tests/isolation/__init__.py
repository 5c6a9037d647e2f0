"""Attempts to leave the box, from inside, and the ordinary work that must go on in there."""
