"""The real agents against a scripted model server: run by ``make test-agents`` only."""
