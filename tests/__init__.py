"""Tests: unit, property, contract, integration, acceptance, fault, golden."""
