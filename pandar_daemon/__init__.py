"""Pandar: runs coding agents unattended, with lightweight approvals."""

__version__ = "0.1.0"
