"""The archive: old ranges of the log in files."""
