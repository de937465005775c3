"""Logs, metrics and health: how the platform says what it is doing."""
