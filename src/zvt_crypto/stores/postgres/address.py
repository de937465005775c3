"""Which database an address means, in words that hold no secret."""

from __future__ import annotations

from urllib.parse import parse_qs, unquote, urlsplit

PORT = "5432"
_UNREADABLE = "the database of the settings"


def place_of(url: str) -> str:
    """`host:port/database` of a `postgresql://` address (a folder where it is a socket's); neither user nor password, nor a part of one.

    Of an address that can be read in two ways (a bare @ / ? or # in its password) nothing is shown.
    """
    try:
        parts = urlsplit(url)
        asked = {name: values[-1] for name, values in parse_qs(parts.query).items()}
    except ValueError:
        return _UNREADABLE
    _, at, hosts = parts.netloc.rpartition("@")
    if "@" in parts.path + parts.fragment or (not at and "@" in parts.query):
        return _UNREADABLE
    port = asked.get("port", PORT)
    named = [unquote(host) for host in (hosts or asked.get("host", "") or "localhost").split(",")]
    places = ",".join(host if host.startswith("/") or _has_port(host) else f"{_bracketed(host)}:{port}" for host in named)
    database = unquote(parts.path.lstrip("/")) or asked.get("dbname") or asked.get("database") or ""
    return f"{places}/{database}" if database else places


def _has_port(host: str) -> bool:
    return ":" in host.rpartition("]")[2] and (host.startswith("[") or host.count(":") == 1)


def _bracketed(host: str) -> str:
    return f"[{host}]" if ":" in host and not host.startswith("[") else host
