"""Decisions: pure, synchronous, deterministic. No clock, socket, log, chance."""
