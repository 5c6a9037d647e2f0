"""Targets of `make fuzz`: each a program that runs until its time is over or something breaks."""
