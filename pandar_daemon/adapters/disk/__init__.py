"""The folders of tasks on this machine's disk."""
