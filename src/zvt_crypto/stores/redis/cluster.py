"""A Cluster as many tasks at once use it: a connection to each server, and who has which slot, looked at again when asked to.

The driver's own client is not used here: an error on one connection makes it close all others, of servers that are well, too, and forget
those servers; with many tasks that wait for news it ends up knowing only the server that died.
"""

from __future__ import annotations

import asyncio
import random
from collections.abc import Callable, Sequence
from typing import Any, NamedTuple

from zvt_crypto.stores.redis.errors import driver_errors

SLOTS = 16_384


class Node(NamedTuple):
    """A server of it, and how a connection to it is made."""

    host: str
    port: int
    connection_kwargs: dict[str, Any]


class ClusterClient:
    """Commands go where their first key is, with the names and arguments of the driver's client of one server."""

    def __init__(self, places: Sequence[tuple[str, int]], **kwargs: Any) -> None:
        self.nodes_manager = Nodes(places, kwargs)

    async def initialize(self) -> None:
        """Know who has which slot."""
        if not self.nodes_manager.is_known:
            await self.nodes_manager.initialize()

    def get_node_from_key(self, key: str) -> Node | None:
        """Who has it; None where nobody does."""
        return self.nodes_manager.node_of(key)

    def get_random_node(self) -> Node:
        """Any of them."""
        return self.nodes_manager.any_node()

    async def ping(self) -> None:
        """Raises the driver's error where none answers."""
        await self.nodes_manager.initialize()

    async def aclose(self) -> None:
        """Release all connections."""
        await self.nodes_manager.close()

    def __getattr__(self, name: str) -> Callable[..., Any]:
        """A command of the driver's client."""

        async def call(*args: Any, target_nodes: Node | None = None, **kwargs: Any) -> Any:
            await self.initialize()
            node = target_nodes
            if node is None:
                key = next(iter(args[0])) if isinstance(args[0], dict) else args[0]
                node = self.nodes_manager.node_of(key)
                if node is None:
                    raise ConnectionError(f"no server has {key} now")
            return await getattr(self.nodes_manager.server(node), name)(*args, **kwargs)

        return call


class Nodes:
    """Servers and slots."""

    def __init__(self, places: Sequence[tuple[str, int]], kwargs: dict[str, Any]) -> None:
        self._first = [Node(host, port, kwargs) for host, port in places]
        self._kwargs = kwargs
        self._servers: dict[tuple[str, int], Any] = {}
        self._slots: list[Node | None] = [None] * SLOTS
        self._known: list[Node] = []
        self._looking = asyncio.Lock()
        self._looks = 0

    @property
    def is_known(self) -> bool:
        """Whether anybody has said who has what."""
        return bool(self._known)

    async def initialize(self) -> None:
        """Ask one server after another who has which slot. Who comes while another asks takes its answer. Raises the driver's error."""
        looks = self._looks
        async with self._looking:
            if self._looks != looks:
                return
            failure: Exception = ConnectionError("no server is named")
            asked = random.sample(self._known, len(self._known)) + self._first
            for node in asked:
                try:
                    answer = await self.server(node).execute_command("CLUSTER", "SLOTS")
                except driver_errors() as error:
                    failure = error
                    continue
                self._take(answer, node)
                return
            raise failure

    def _take(self, answer: list[Any], teller: Node) -> None:
        slots: list[Node | None] = [None] * SLOTS
        known: dict[tuple[str, int], Node] = {}
        for first, last, *nodes in answer:
            found = [Node(_text(host) or teller.host, port, self._kwargs) for host, port, *_ in nodes]
            known |= {(node.host, node.port): node for node in found}
            slots[first : last + 1] = [found[0]] * (last + 1 - first)
        self._slots, self._known, self._looks = slots, list(known.values()), self._looks + 1

    def node_of(self, key: str) -> Node | None:
        """Who has the key's slot."""
        from redis.crc import key_slot

        return self._slots[key_slot(key.encode())]

    def any_node(self) -> Node:
        """One that is known."""
        return random.choice(self._known or self._first)  # noqa: S311 - no secret

    def server(self, node: Node) -> Any:
        """A client of it alone."""
        import redis.asyncio

        place = (node.host, node.port)
        if place not in self._servers:
            self._servers[place] = redis.asyncio.Redis(host=node.host, port=node.port, **self._kwargs)
        return self._servers[place]

    async def close(self) -> None:
        """Release all connections."""
        servers, self._servers = self._servers, {}
        for server in servers.values():
            await server.aclose()


def _text(name: bytes | str) -> str:
    return name.decode() if isinstance(name, bytes) else name
