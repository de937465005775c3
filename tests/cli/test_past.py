"""The past on the command line and in Python: what was known, listed and told."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable
from typing import TypeVar

import pytest
from cli_parts import Said

from stores_fixtures import BAR, MINUTE, PAIR, PERP, START, bar
from zvt_crypto.stores.postgres import PostgresStore, open_store

Zvt = Callable[..., Said]
T = TypeVar("T")
S = 1_000_000_000


def stored(url: str, work: Callable[[PostgresStore], Awaitable[T]]) -> T:
    async def go() -> T:
        store = await open_store(url)
        try:
            return await work(store)
        finally:
            await store.close()

    return asyncio.run(go())


@pytest.fixture
def past(zvt: Zvt, database_url: str, monkeypatch: pytest.MonkeyPatch) -> Zvt:
    """Commands on a database with two bars, one of them corrected."""
    monkeypatch.setenv("ZVT_CRYPTO__DATABASE__URL", database_url)

    async def fill(store: PostgresStore) -> None:
        await store.instruments.save([PAIR, PERP], START)
        await store.klines.upsert([BAR, bar(1, source="trades")], START + 2 * MINUTE)
        await store.klines.upsert([bar(1, close=102.0)], START + 3 * MINUTE)

    stored(database_url, fill)
    return zvt


def test_kdata_as_of_leaves_out_what_came_later(past: Zvt) -> None:
    from zvt_crypto import query_data

    def closes(as_of: str) -> list[str]:
        return [row["close"] for row in past("kdata", PAIR.id, "--as-of", as_of, "--json").json["data"]]

    assert closes("2024-08-08T23:59:59Z") == []
    assert closes("2024-08-09T00:00:30Z") == ["101", "101"]
    assert closes("2024-08-09T00:01:00Z") == ["101", "102"]
    frame = query_data(PAIR.id, as_of="2024-08-09T00:00:30Z")
    assert frame["close"].to_list() == [101.0, 101.0]
    assert "soon" in past("kdata", PAIR.id, "--as-of", "soon").err


def test_pairs_of_a_day_and_a_renaming(past: Zvt) -> None:
    past("pairs", "add", "XYZUSDT", "--exchange", "binance", "--base", "XYZ", "--quote", "USDT")
    assert (
        past("pairs", "rename", "BTCUSDT", "XYZUSDT", "--exchange", "binance", "--at", "2024-09-01").out == "cryptopair_binance_xyzusdt\n"
    )

    def listed(at: str) -> set[str]:
        return {row["id"] for row in past("pairs", "list", "--at", at, "--json").json["pairs"]}

    assert listed("2024-08-08") == set()
    assert listed("2024-08-31") == {PAIR.id, PERP.id}
    assert listed("2024-09-01") == {PERP.id}
    facts = past("pairs", "show", PAIR.id, "--json").json["facts"]
    assert [fact["value"] for fact in facts if fact["field"] == "renamed_to"] == ["cryptopair_binance_xyzusdt"]
    same = past("pairs", "rename", PERP.id, PERP.id)
    assert (same.code, "one instrument" in same.err) == (2, True)
    assert past("pairs", "list", "--at", "never").code == 2
