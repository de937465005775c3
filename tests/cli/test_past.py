"""The past on the command line and in Python: what was known, listed and told."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable
from datetime import UTC, datetime, timedelta
from typing import TypeVar

import asyncpg
import msgspec
import pytest
from cli_parts import Said

from stores_fixtures import BAR, MINUTE, PAIR, PERP, START, bar, pack_all
from zvt_crypto.domain.market import BookDelta, BookSnapshot, BookStale, Gap
from zvt_crypto.domain.time import Interval
from zvt_crypto.engine.booklog import SegmentLog
from zvt_crypto.stores.postgres import PostgresStore, open_store
from zvt_crypto.stores.postgres.bars import pack, unpack

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


def test_the_history_of_a_bar_is_told_version_by_version(past: Zvt) -> None:
    told = past("history", PAIR.id, "--at", "2024-08-08T23:59:30Z", "--json").json
    assert [(v["known"], v["source"], v["close"], v["served"], v["until"]) for v in told["versions"]] == [
        ("2024-08-09T00:00:00.000Z", "trades", "101", True, "2024-08-09T00:01:00.000Z"),
        ("2024-08-09T00:01:00.000Z", "venue", "102", True, None),
    ]
    assert (told["first_seen"]["source"], told["venue_says"]["close"], told["answer"]["close"]) == ("trades", "102", "102")
    shown = past("history", "btcusdt", "--exchange", "binance", "--at", "2024-08-08T23:59:00Z").out
    assert "until 2024-08-09T00:01:00.000Z" in shown
    assert "exchange says: close 102, venue" in shown
    assert "no 1m kline" in past("history", PAIR.id, "--at", "2020-01-01").err


def test_a_gap_that_was_filled_is_part_of_the_history(past: Zvt, database_url: str) -> None:
    hole = Gap(PAIR.id, "kline", START, START + MINUTE, None, None, "connection lost", "rest", START, interval=Interval.MIN_1)
    stored(database_url, lambda store: store.facts.save_gaps([hole], START))
    told = past("history", PAIR.id, "--at", "2024-08-08T23:58:00Z", "--json").json
    assert (told["filled_from"], told["gaps"][0]["reason"]) == (["rest"], "connection lost")
    assert "filled from rest: connection lost" in past("history", PAIR.id, "--at", "2024-08-08T23:58:00Z").out


def test_verify_signs_compares_and_names_the_first_wrong_row(past: Zvt, database_url: str) -> None:
    nothing = past("verify")
    assert "0 of 1 chunks are signed: `zvt-crypto verify --sign` signs them" in nothing.out
    assert past("verify", "--json").json["right"] is None
    assert "no chunk of these is over yet" in past("verify", "--tables", "trade").out
    assert past("verify", "--sign").out.startswith("1 chunks signed")
    right = past("verify", "--json").json
    assert (right["chunks"], right["rows"], right["wrong"], right["right"]) == (1, 2, [], True)

    async def spoil(store: PostgresStore) -> None:
        connection = await asyncpg.connect(database_url)
        await connection.execute("UPDATE kline_1m SET close = 100.5 WHERE open_time = '2024-08-08 23:59:00+00'")
        await connection.close()

    stored(database_url, spoil)
    wrong = past("verify", PAIR.id)
    assert wrong.code == 1
    assert "wrong: kline_1m cryptopair_binance_btcusdt 2024-08-08T23:59:00.000Z was changed: open 100.0" in wrong.out
    (row,) = past("verify", "--tables", "kline_1m,trade", "--json").json["wrong"]
    assert (row["fault"], row["at"]) == ("changed", "2024-08-08T23:59:00.000Z")
    assert past("verify", "--exchange", "binance", "--tables", "trade").code == 0
    assert "'kline_2m' is none of" in past("verify", "--tables", "kline_2m").err

    async def remove(store: PostgresStore) -> None:
        connection = await asyncpg.connect(database_url)
        await connection.execute("UPDATE kline_1m SET close = 102 WHERE open_time = '2024-08-08 23:59:00+00'")
        await connection.execute("DELETE FROM kline_1m WHERE open_time = '2024-08-08 23:58:00+00'")
        await connection.close()

    stored(database_url, remove)
    assert "a row is missing from 2024-08-01T00:00:00.000Z on, before 2024-08-08T23:59:00.000Z" in past("verify").out
    stored(database_url, lambda store: store.klines.upsert([bar(2)], START + 400 * 86_400 * S))
    told = past("verify")
    assert (told.code, "written to since" in told.err) == (1, True)


def test_verify_compares_what_is_packed_though_nothing_is_signed(past: Zvt, database_url: str) -> None:
    stored(database_url, pack_all)
    right = past("verify")
    assert (right.code, "1 packed chunks that are not signed compared" in right.out) == (0, True)

    async def spoil(store: PostgresStore) -> None:
        connection = await asyncpg.connect(database_url)
        rows = unpack(await connection.fetchval("SELECT data FROM kline_packed"))
        await connection.execute("UPDATE kline_packed SET data = $1", pack(rows._replace(close=rows.close + 0.25)))
        await connection.close()

    stored(database_url, spoil)
    wrong = past("verify", "--json")
    (row,) = wrong.json["wrong"]
    assert (wrong.code, wrong.json["packed"], wrong.json["right"], row["fault"], row["at"]) == (
        1,
        1,
        False,
        "unreadable",
        "2024-08-08T23:58:00.000Z",
    )
    assert "2024-08-08T00:00:00.000Z to 2024-08-09T00:00:00.000Z: the rows are not those that were packed" in past("verify").out
    assert past("verify", PERP.id).code == 0


def test_a_pair_of_the_past_existed_from_its_listing_to_its_delisting(past: Zvt) -> None:
    add = ("pairs", "add", "--exchange", "binance", "--quote", "USDT")
    assert past(*add, "OLDUSDT", "--base", "OLD", "--listed", "2024-01-01", "--delisted", "2024-06-01").code == 0
    assert past(*add, "NEWUSDT", "--base", "NEW").code == 0

    def listed(at: str) -> set[str]:
        found = past("pairs", "list", "--at", at, "--json").json["pairs"]
        return {row["base_asset"] for row in found} & {"OLD", "NEW"}

    assert [listed(at) for at in ("2023-12-31", "2024-01-01", "2024-05-31", "2024-06-01")] == [set(), {"OLD"}, {"OLD"}, set()]
    assert past("pairs", "update", "NEWUSDT", "--listed", "2024-03-01").code == 0
    assert [listed(at) for at in ("2024-02-29", "2024-03-01", "2024-07-01")] == [{"OLD"}, {"OLD", "NEW"}, {"NEW"}]


def test_nothing_is_delisted_before_it_is_listed(past: Zvt) -> None:
    add = ("pairs", "add", "OLDUSDT", "--exchange", "binance", "--base", "OLD", "--quote", "USDT", "--listed", "2024-01-01")
    refused = past(*add, "--delisted", "2023-12-31")
    assert (refused.code, "2023-12-31T00:00:00.000Z: it is listed since 2024-01-01" in refused.err) == (2, True)
    assert past("pairs", "show", "OLDUSDT").code != 0
    assert "'soon'" in past(*add[:-1], "soon").err
    assert past(*add).code == 0
    for act in (("delist", "OLDUSDT", "--at", "2023-12-31"), ("rename", "OLDUSDT", PAIR.id, "--at", "2023-12-31")):
        refused = past("pairs", *act)
        assert (refused.code, "it is listed since 2024-01-01" in refused.err) == (2, True)
    assert past("pairs", "delist", "OLDUSDT", "--at", "2024-02-01").code == 0
    assert "it is listed since 2024-03-01" in past("pairs", "update", "OLDUSDT", "--listed", "2024-03-01").err


def test_a_book_of_a_past_instant(past: Zvt, database_url: str) -> None:
    log = SegmentLog(BookSnapshot(PAIR.id, 7, [(99.0, 1.0), (98.5, 2.0)], [(101.0, 1.5)], START, START), START)
    log.take(BookDelta(PAIR.id, 8, 8, 7, [(99.0, 0.0)], [], START + S, START + S), START + S)
    log.take(BookStale(PAIR.id, "gap after update 8", START + 2 * S, START + 2 * S), START + 2 * S)
    stored(database_url, lambda store: store.book_log.save([log.close(START + 3 * S)], START))
    told = past("book", PAIR.id, "--at", "2024-08-08T23:58:00.5Z", "--json").json
    assert (told["update_id"], told["bids"], told["levels"]) == (7, [["99", "1"], ["98.5", "2"]], [2, 1])
    shown = past("book", PAIR.id, "--at", "2024-08-08T23:58:01Z", "--depth", "1").out
    assert "update 8 of 2024-08-08T23:58:01.000Z, 1 bids and 1 asks" in shown
    stale = past("book", PAIR.id, "--at", "2024-08-08T23:58:02Z")
    assert (stale.code, "gap after update 8" in stale.err) == (3, True)
    none = past("book", PAIR.id, "--at", "2024-08-08T23:58:03Z")
    assert (none.code, "was logged" in none.err) == (2, True)
    assert past("book", PAIR.id, "--at", "2024-08-08T23:58:00Z", "--depth", "0").code == 2


def test_repair_closes_holes_from_the_exchange_and_reports_each(wired: Zvt) -> None:
    hour = datetime.now(UTC).replace(minute=0, second=0, microsecond=0)
    t = [(hour - timedelta(hours=back)).strftime("%Y-%m-%dT%H:%M:%S.000Z") for back in (6, 5, 4, 3)]
    wired("backfill", "--symbols", "BTCUSDT", "--start", t[0], "--end", t[1])
    whole = wired("repair", "--symbols", "BTCUSDT", "--interval", "1m")
    assert (whole.code, whole.out) == (0, "0 holes: 0 closed, 0 open\n")
    wired("backfill", "--symbols", "BTCUSDT", "--start", t[2], "--end", t[3])
    told = wired("repair", "--symbols", "BTCUSDT", "--interval", "1m", "--json").json
    assert [(one["start"], one["end"], one["closed"], one["rows"]) for one in told["holes"]] == [(t[1], t[2], True, 60)]
    assert wired("repair", "--symbols", "BTCUSDT", "--interval", "1m").out == "0 holes: 0 closed, 0 open\n"


def test_the_exchange_is_asked_what_it_answers_now(wired: Zvt, database_url: str) -> None:
    hour = datetime.now(UTC).replace(minute=0, second=0, microsecond=0) - timedelta(hours=5)
    at, end = (moment.strftime("%Y-%m-%dT%H:%M:%SZ") for moment in (hour, hour + timedelta(minutes=10)))
    wired("backfill", "--symbols", "BTCUSDT", "--start", at, "--end", end)
    name = "cryptopair_binance_btcusdt"
    assert "; the same as our answer" in wired("history", name, "--at", at, "--ask").out

    async def spoil(store: PostgresStore) -> None:
        (held,) = await store.klines.read(name, Interval.MIN_1, limit=1)
        await store.klines.upsert([msgspec.structs.replace(held, high=held.high + 1)], 10**18 * 2)

    stored(database_url, spoil)
    last = (hour + timedelta(minutes=9)).strftime("%Y-%m-%dT%H:%M:%SZ")
    assert "; otherwise than our answer: high" in wired("history", name, "--at", last, "--ask").out
    told = wired("history", name, "--at", last, "--ask", "--json").json
    assert (told["exchange_answers"]["high"] != told["answer"]["high"], told["count"]) == (True, 2)
    assert "has no such bar" in wired("history", name, "--at", "2012-01-01", "--ask").out
