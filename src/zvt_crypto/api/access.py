"""Which Host and Origin headers are ours: against DNS rebinding and foreign pages that open sockets in a visitor's browser."""

from __future__ import annotations

from urllib.parse import urlsplit

from zvt_crypto.api.deps import LOOPBACK_HOSTS, AccessRules


def host_name(header: str) -> str:
    """The name of a Host header: lower case, without port, IPv6 in brackets."""
    text = header.strip().lower()
    if text.startswith("["):
        return text.partition("]")[0] + "]"
    return text.partition(":")[0]


def host_allowed(header: str | None, rules: AccessRules) -> bool:
    """Whether the Host header names us. HTTP/1.1 demands one; its absence is refused."""
    if "*" in rules.hosts:
        return True
    return header is not None and host_name(header) in rules.hosts


def origin_allowed(origin: str | None, rules: AccessRules) -> bool:
    """Whether a page of this origin may open a WebSocket: none (no browser), one named in the rules, or one that we serve
    (an accepted host name, any port). `null` is nobody."""
    if origin is None:
        return True
    if origin in rules.origins:
        return True
    try:
        parts = urlsplit(origin)
    except ValueError:
        return False
    if parts.scheme not in ("http", "https") or not parts.netloc:
        return False
    name = host_name(parts.netloc)
    return name in rules.hosts or ("*" in rules.hosts and name in LOOPBACK_HOSTS)
