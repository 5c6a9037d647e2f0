"""One noun a file, all of one shape: what they promise, `run()`, one verb."""
