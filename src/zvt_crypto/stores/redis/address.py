"""A Redis or Valkey server by its address: one server, behind Sentinel, or a Cluster."""

from __future__ import annotations

from typing import Any
from urllib.parse import SplitResult, unquote, urlsplit

from zvt_crypto.domain.errors import BadConfig, StoreUnavailable, shown
from zvt_crypto.stores.redis.cluster import ClusterClient
from zvt_crypto.stores.redis.errors import driver_errors as driver_errors

TIMEOUT_S = 2.0  # of a command; those that wait on purpose say so themselves
USUAL_PORT, SENTINEL_PORT = 6379, 26379
_PACKAGE = "live.redis needs the package redis: pip install 'zvt-crypto[redis]'"


async def open_redis(url: str) -> Any:
    """A client that answers. Raises BadConfig for an address that is none, StoreUnavailable where nobody answers."""
    try:
        client = _client(url)
    except ModuleNotFoundError:
        raise BadConfig(_PACKAGE) from None
    try:
        await client.ping()
    except driver_errors() as error:
        await client.aclose()
        raise StoreUnavailable(f"cannot reach Redis at {place_of(url)}: {type(error).__name__}: {error}") from None
    return client


async def told_version(client: Any) -> str:
    """`Valkey 9.1.2, cluster`: whose server it is, and how it stands. Raises StoreUnavailable."""
    try:
        if hasattr(client, "get_random_node"):
            answers = await client.info("server", target_nodes=client.get_random_node())
        else:
            answers = await client.info("server")
    except driver_errors() as error:
        raise StoreUnavailable(f"Redis does not tell what it is: {error}") from None
    name = "Valkey" if "valkey_version" in answers else "Redis"
    version = answers.get("valkey_version") or answers.get("redis_version", "of an unknown version")
    return f"{name} {version}, {answers.get('server_mode') or answers.get('redis_mode', 'standalone')}"


def place_of(url: str) -> str:
    """The servers of an address, without its login."""
    return urlsplit(url).netloc.rpartition("@")[2]


def _client(url: str) -> Any:
    import redis.asyncio
    from redis.backoff import NoBackoff

    parts = urlsplit(url)
    plain, _, form = parts.scheme.partition("+")
    if plain not in ("redis", "rediss", "unix") or form not in ("", "sentinel", "cluster") or (plain == "unix" and form):
        raise BadConfig(f"live.redis {shown(place_of(url))} is no address: redis://, rediss://, redis+sentinel:// or redis+cluster://")
    retry = redis.asyncio.retry.Retry(NoBackoff(), 1)  # who uses it asks again by its own rule, and says so
    timeouts: dict[str, Any] = {"socket_timeout": TIMEOUT_S, "socket_connect_timeout": TIMEOUT_S, "retry": retry}
    if not form:
        try:
            return redis.asyncio.Redis.from_url(url, **timeouts)
        except ValueError as error:
            raise BadConfig(f"live.redis {shown(place_of(url))} is no address of a Redis server: {error}") from None
    login = _login(parts) | ({"ssl": True} if plain == "rediss" else {})
    if form == "cluster":
        return ClusterClient(_places(parts, USUAL_PORT), **login, **timeouts)
    name = parts.path.strip("/").partition("/")[0]
    if not name:
        raise BadConfig(f"live.redis {shown(place_of(url))} names no master: redis+sentinel://host:port,host:port/name")
    sentinel = redis.asyncio.Sentinel(_places(parts, SENTINEL_PORT), **timeouts)  # type: ignore[no-untyped-call]
    return sentinel.master_for(name, **login, **timeouts)


def _login(parts: SplitResult) -> dict[str, Any]:
    user, colon, password = parts.netloc.rpartition("@")[0].partition(":")
    return {"username": unquote(user) or None, "password": unquote(password)} if colon else {}


def _places(parts: SplitResult, usual: int) -> list[tuple[str, int]]:
    """Hosts with their ports. Raises BadConfig."""
    made: list[tuple[str, int]] = []
    for place in parts.netloc.rpartition("@")[2].split(","):
        host, _, port = place.rpartition(":") if ":" in place.rpartition("]")[2] else (place, "", str(usual))
        if not host or not (port.isascii() and port.isdigit() and 0 < int(port) < 65_536):
            raise BadConfig(f"live.redis: {shown(place)} is no host with a port")
        made.append((host.strip("[]"), int(port)))
    return made
