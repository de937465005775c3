"""Our client of a Cluster: each key where it belongs, many waiting tasks while a master dies, and the new one found."""

from __future__ import annotations

import asyncio

import pytest

from valkey_cluster import valkey_cluster
from zvt_crypto.domain.errors import StoreUnavailable
from zvt_crypto.stores.redis.address import open_redis, told_version
from zvt_crypto.stores.redis.streams import Away, look_again

KEYS = [f"key {number}" for number in range(60)]


@pytest.mark.slow
async def test_keys_are_found_on_their_servers_and_again_after_a_master_died_under_many_readers() -> None:
    with valkey_cluster() as cluster:
        client, away = await open_redis(cluster.url), Away()
        assert (await told_version(client)).endswith("cluster")
        for key in KEYS:
            await client.set(key, key)
        places = {(node.host, node.port) for key in KEYS if (node := client.get_node_from_key(key)) is not None}
        assert len(places) == 3
        assert [await client.get(key) for key in KEYS] == [key.encode() for key in KEYS]

        waiting = [asyncio.create_task(away.ask("read", client.xread({f"stream of {key}": "$"}, block=1_500))) for key in KEYS]
        await asyncio.sleep(0.2)
        dead = next(node for node in cluster.nodes if node.is_master())
        dead.kill()
        answers = await asyncio.gather(*waiting, return_exceptions=True)
        failed = [answer for answer in answers if isinstance(answer, StoreUnavailable)]
        assert 0 < len(failed) < len(KEYS), "the servers that live go on"

        async with asyncio.timeout(20):
            while True:
                await look_again(client)
                found = [client.get_node_from_key(key) for key in KEYS]
                if all(node is not None and node.port != dead.port for node in found):
                    break
                await asyncio.sleep(0.1)
        assert [await client.get(key) for key in KEYS] == [key.encode() for key in KEYS]
        for node in cluster.nodes:
            if node.is_running:
                node.kill()
        with pytest.raises(StoreUnavailable):
            await away.ask("reach anybody", client.ping())
        await client.aclose()
