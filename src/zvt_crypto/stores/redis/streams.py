"""The streams between those who follow exchanges and those who record and serve: their keys, and how an entry is appended.

Two streams a shard, with one hash tag, so that a Cluster spreads shards and reads both at once. `feed`: what must be stored; an entry is
acknowledged once it is appended and, where the server has replicas, one of them has it. `live`: books, forming klines, tickers, quotes; a
short stream of what is new, in which every book stands whole every few seconds, so that who begins, or missed something, knows it soon.
An entry holds the epoch of its writer (the token of a lease) and its count: of books, only the greatest epoch's are followed.
"""

from __future__ import annotations

import asyncio
import contextlib
import time
from collections import Counter, defaultdict
from collections.abc import Coroutine, Iterable, Mapping, Sequence
from typing import Any

import msgspec

from zvt_crypto.domain.errors import StoreUnavailable
from zvt_crypto.domain.events import FEED_VERSION, Event
from zvt_crypto.engine.shares import shard_of
from zvt_crypto.ports import Fence
from zvt_crypto.stores.redis.address import driver_errors

SHARDS = 16
FEED_ENTRIES = 200_000  # a shard: what a recorder may fall behind
LIVE_ENTRIES = 2_000
WHOLE_S = 2.0  # how often a book stands whole
REPLICA_MS = 1_000
REPLICAS_S = 2.0  # a replica that came is waited for from then on
_DIRECT = ("username", "password", "socket_timeout", "socket_connect_timeout", "ssl", "retry")  # of a Cluster's client, for its servers

_encode = msgspec.msgpack.Encoder().encode


def feed_key(shard: int) -> str:
    """The stream of what must be stored."""
    return f"zvt:{{{shard}}}:feed"


def live_key(shard: int) -> str:
    """The stream of what is new."""
    return f"zvt:{{{shard}}}:live"


class Away:
    """Turns what the driver raises into StoreUnavailable."""

    def __init__(self) -> None:
        self.errors = driver_errors()

    async def ask(self, what: str, work: Coroutine[Any, Any, Any]) -> Any:
        """The answer. In a task of its own: the driver may take a cancellation for the end of a connection, and go on."""
        task = asyncio.create_task(work)
        try:
            await asyncio.wait({task})
        except asyncio.CancelledError:
            task.add_done_callback(_forgotten)
            task.cancel()
            raise
        try:
            return task.result()
        except self.errors as error:
            raise StoreUnavailable(f"Redis: cannot {what}: {type(error).__name__}: {error}") from None


def _forgotten(task: asyncio.Task[Any]) -> None:
    """Nobody waits for it any more, however it ended."""
    if not task.cancelled():
        task.exception()


class Streams:
    """Appends, each on the server that has the shard, and known to a replica of it where there is one."""

    def __init__(self, client: Any, writer: str, fence: Fence) -> None:
        self._client, self._writer, self._fence, self._away = client, writer, fence, Away()
        self._counts: Counter[str] = Counter()
        self._replicas: dict[int, tuple[float, bool]] = {}  # server → until when we believe it, whether it has some
        self._direct: dict[tuple[str, int], Any] = {}

    async def append(self, key: str, events: Sequence[Event], most: int, *, replicated: bool) -> None:
        """One entry, as `append_all` says."""
        await self.append_all({key: events}, most, replicated=replicated)

    async def append_all(self, parts: Mapping[str, Sequence[Event]], most: int, *, replicated: bool) -> None:
        """One entry a stream, those of a server in one go; none once the lease is lost. Raises StoreUnavailable while nobody knows whether
        it is, and where a server is away; the other servers have theirs then.

        What is not replicated is not sent again when it fails: its count is passed over, so that readers see that something is missing.
        """
        if self._fence.is_lost:
            return
        counts = {key: self._counts[key] + 1 for key in parts}
        if not replicated:
            self._counts.update(parts.keys())
        if not self._fence.may_publish():
            raise StoreUnavailable("the lease is asked for again")
        fixed = {"v": FEED_VERSION, "w": self._writer, "e": self._fence.token}
        entries = {key: fixed | {"n": counts[key], "d": _encode(events)} for key, events in parts.items()}
        try:
            groups = await self._away.ask("find the servers", self._by_server(entries))
            done = await asyncio.gather(
                *(self._append_group(server, theirs, most, replicated) for server, theirs in groups), return_exceptions=True
            )
            failed = [each for each in done if isinstance(each, BaseException)]
            if failed:
                raise failed[0]
        except StoreUnavailable:
            await self._forget()
            raise

    async def _by_server(self, entries: dict[str, dict[str, Any]]) -> list[tuple[Any, dict[str, dict[str, Any]]]]:
        groups: dict[int, tuple[Any, dict[str, dict[str, Any]]]] = {}
        for key, entry in entries.items():
            server = await self._server(key)
            groups.setdefault(id(server), (server, {}))[1][key] = entry
        return list(groups.values())

    async def _append_group(self, server: Any, entries: dict[str, dict[str, Any]], most: int, replicated: bool) -> None:
        await self._away.ask("publish", self._append(server, entries, most, replicated))
        for key, entry in entries.items():  # one that failed may be there all the same: the same count twice is no jump
            self._counts[key] = max(self._counts[key], entry["n"])

    def pass_over(self, key: str) -> None:
        """Something that was to be sent is lost: the next entry's count says so."""
        self._counts[key] += 1

    async def _append(self, server: Any, entries: dict[str, dict[str, Any]], most: int, replicated: bool) -> None:
        has_replicas = replicated and await self._has_replicas(server)
        async with server.pipeline(transaction=False) as pipe:  # one connection: WAIT is for what was written on it
            for key, entry in entries.items():
                pipe.xadd(key, entry, maxlen=most, approximate=True)
            if has_replicas:
                pipe.execute_command("WAIT", 1, REPLICA_MS)
            answers = await pipe.execute()
        if has_replicas and not answers[-1]:
            self._replicas.pop(id(server), None)
            if await self._has_replicas(server):
                raise TimeoutError(f"no replica had it within {REPLICA_MS} ms")

    async def _has_replicas(self, server: Any) -> bool:
        """As the server said a while ago at most: waiting for a replica that it has not would cost all the time that there is."""
        held = self._replicas.get(id(server))
        if held is not None and held[0] > time.monotonic():
            return held[1]
        told = await server.info("replication")
        has_replicas = bool(told.get("connected_slaves"))
        self._replicas[id(server)] = time.monotonic() + REPLICAS_S, has_replicas
        return has_replicas

    async def _server(self, key: str) -> Any:
        if not hasattr(self._client, "get_node_from_key"):
            return self._client
        import redis.asyncio

        await self._client.initialize()
        node = self._client.get_node_from_key(key)
        if node is None:
            raise TimeoutError(f"no server has {key} now")
        place = (node.host, node.port)
        if place not in self._direct:
            kept = {name: value for name, value in node.connection_kwargs.items() if name in _DIRECT}
            self._direct[place] = redis.asyncio.Redis(host=place[0], port=place[1], **kept)
        return self._direct[place]

    async def _forget(self) -> None:
        """Another server may have the shard now."""
        if hasattr(self._client, "nodes_manager"):
            await self.close()
            await look_again(self._client)

    async def close(self) -> None:
        """Release the connections."""
        direct, self._direct = self._direct, {}
        self._replicas.clear()
        for server in direct.values():
            await server.aclose()


async def look_again(client: Any) -> None:
    """Of a Cluster: who has which shard now. Who asks while another does shares its answer."""
    nodes = getattr(client, "nodes_manager", None)
    if nodes is not None:
        with contextlib.suppress(StoreUnavailable):
            await Away().ask("look at the Cluster", nodes.initialize())


def divided(events: Iterable[Event]) -> dict[int, list[Event]]:
    """By shard, each in its order."""
    parts: dict[int, list[Event]] = defaultdict(list)
    for event in events:
        parts[shard_of(getattr(event, "instrument", ""), SHARDS)].append(event)
    return parts
