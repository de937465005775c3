"""Coinbase as the emulator speaks it: Advanced Trade (pairs and perpetuals) and Exchange (pairs), public side."""
