"""Pandar's public language: every event and command, their envelope, names and encoding.

Pure: imports only the standard library and msgspec, performs no I/O, reads no clock.
"""
