"""WebSocket at /ws/v1: protocol (pure), hub (who hears what), gateway (sockets)."""
