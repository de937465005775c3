"""Answers to those outside: REST (port 8000) and WebSocket (port 8001)."""
