"""Sealing: what is kept so that only this installation can read it again."""
