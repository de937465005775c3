"""Wires: what waits, loops and retries. Every part takes its clock, observer, store, connector and feed as arguments."""
