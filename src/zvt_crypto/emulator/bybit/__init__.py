"""Bybit v5 as the emulator speaks it: spot and linear perpetuals, public side."""
