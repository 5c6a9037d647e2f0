"""Coding agents: how each is started, and the protocols they speak. No process is started here."""
