"""`storage` on the command line: it says what it does, and does nothing that it did not say."""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from pathlib import Path

import msgspec
import pytest
from cli_parts import Said

from stores_fixtures import KNOWN, PAIR, bar, trade
from zvt_crypto.domain.time import NS_PER_DAY
from zvt_crypto.stores.postgres import open_store

Zvt = Callable[..., Said]


@pytest.fixture
def filled(zvt: Zvt, database_url: str, monkeypatch: pytest.MonkeyPatch) -> Zvt:
    """A database with 130 minutes of August 2024, two of them in a month of their own, and some trades."""

    async def fill() -> None:
        store = await open_store(database_url)
        await store.instruments.save([PAIR], KNOWN)
        await store.klines.upsert([bar(n) for n in range(130)], KNOWN)
        await store.klines.upsert([bar(24 * 60 * 40 + n) for n in range(2)], KNOWN)
        await store.trades.append([trade(n) for n in range(5)], KNOWN)
        await store.close()

    asyncio.run(fill())
    monkeypatch.setenv("ZVT_CRYPTO__DATABASE__URL", database_url)
    return zvt


def test_policies_are_set_shown_and_dropped(filled: Zvt) -> None:
    assert "no policy" in filled("storage", "policy").err
    assert filled("storage", "policy", "1m", "--compact", "60", "--retain", "1825d").code == 0
    assert filled("storage", "policy", "trade", "--retain", "30").out == "trade is forgotten after 30 days\n"
    assert filled("storage", "policy", "--json").json["count"] == 3
    assert filled("storage", "policy", "trade", "--retain", "off").out == ""
    assert filled("storage", "policy").out == "kline_1m is packed after 60 days\nkline_1m is forgotten after 1825 days\n"


@pytest.mark.parametrize(
    "arguments, said",
    [
        (["policy", "--compact", "3"], "a policy is one of a target"),
        (["policy", "1m", "--compact", "soon"], "age 'soon' is neither a number of days nor off"),
        (["policy", "trade", "--compact", "3"], "trade has no packed form"),
        (["policy", "tickers", "--retain", "3"], "storage target 'tickers' is neither an interval"),
        (["compact", "1d", "--older-than", "3"], "kline_1d has no packed form"),
        (["compact", "1m", "--older-than", "0"], "--older-than 0 is less than a day"),
        (["retain", "--older-than", "3"], "would forget everything"),
        (["hypertables"], "the database has no TimescaleDB: this server does not have it"),
        (["archive", "somewhere", "1m"], "--older-than says how many days old"),
        (["archive", "somewhere"], "what to archive is missing"),
        (["archive", "somewhere", "--verify"], "no manifest"),
        (["archive", "somewhere", "1m", "--older-than", "30", "--remove"], "give --yes"),
    ],
)
def test_what_cannot_be_meant_is_refused_by_name(filled: Zvt, arguments: list[str], said: str) -> None:
    done = filled("storage", *arguments)
    assert done.code == 2
    assert said in done.err


def test_compact_does_what_policies_say_and_status_shows_it(filled: Zvt) -> None:
    assert "nothing to do" in filled("storage", "compact").err
    filled("storage", "policy", "1m", "--compact", "60")
    assert "kline_1m: 132 rows packed in 3 chunks of" in filled("storage", "compact").out
    found = filled("storage", "status", "--json").json
    table = next(each for each in found["tables"] if each["target"] == "kline_1m")
    assert (table["hot_rows"], table["cold_rows"], table["partitions"]) == (0, 132, 0)
    assert found["features"]["cold_form"] == "packed chunks"
    assert found["policies"] == [{"target": "kline_1m", "action": "compact", "days": 60}]
    shown = filled("storage", "status").out
    assert "kline_1m is packed after 60 days" in shown
    assert PAIR.id in shown
    assert "no TimescaleDB" in shown
    read = filled("kdata", "btcusdt", "-e", "binance", "--limit", "200", "--format", "json").json
    assert read["data"][0]["timestamp"].startswith("2024-08-08T23:58")
    assert filled("storage", "compact", "1m", "--older-than", "60", "--json").json["compacted"]["kline_1m"]["rows"] == 0


def test_unpack_makes_rows_again_of_what_it_is_asked_for(filled: Zvt) -> None:
    filled("storage", "compact", "1m", "--older-than", "60")
    assert filled("storage", "unpack", "1m", "--start", "2024-08-09", "--end", "2024-08-10").out == "kline_1m: 128 rows are unpacked\n"
    assert filled("storage", "unpack", "1m").out == "kline_1m: 4 rows are unpacked\n"
    assert filled("storage", "unpack", "1d").code == 2


def test_rollup_makes_longer_klines_of_what_came_late(filled: Zvt) -> None:
    made = filled("storage", "rollup")
    assert made.out == "39 longer klines were made or corrected\n"  # of 128 whole minutes from midnight on: 25 + 8 + 4 + 2
    assert filled("storage", "rollup").out == "0 longer klines were made or corrected\n"


def test_retain_says_what_it_will_drop_and_asks(filled: Zvt) -> None:
    assert "nothing is older" in filled("storage", "retain").err
    dry = filled("storage", "retain", "trade", "--older-than", "30", "--dry-run")
    assert dry.out.startswith("trade: 5 rows in ")
    assert "(partition trade_20240808), 2024-08-08T00:00:00.000Z to 2024-08-09T00:00:00.000Z" in dry.out
    assert filled("storage", "retain", "trade", "--older-than", "30", "--dry-run", "--json").json["count"] == 1
    refused = filled("storage", "retain", "trade", "--older-than", "30")
    assert (refused.code, "forget 5 rows for good?" in refused.err) == (2, True)
    assert filled("storage", "retain", "trade", "--older-than", "30", "--yes").out.endswith("5 rows are gone\n")
    filled("storage", "policy", "1m", "--retain", "30")
    assert "132 rows" not in filled("storage", "retain", "trade", "--older-than", "30", "--dry-run").out
    assert filled("storage", "retain", "--yes").out.endswith("132 rows are gone\n")


def test_archive_writes_verifies_and_removes(filled: Zvt, tmp_path: Path) -> None:
    folder = str(tmp_path / "archive")
    kept = filled("storage", "archive", folder, "1m", "--older-than", "30")
    assert "kline_1m 2024-08-01T00:00:00.000Z: 130 rows" in kept.out
    assert "0 removed from the database" in kept.out
    assert filled("storage", "archive", folder, "--verify").out == "every file is as its manifest says\n"
    done = filled("storage", "archive", folder, "1m", "--older-than", "30", "--remove", "--yes", "--json").json
    assert [each["removed"] for each in done["archived"]] == [130, 2]
    empty = filled("kdata", "btcusdt", "-e", "binance", "-i", "1d").err
    assert "no 1d klines" in empty
    assert "archived" not in empty
    assert f"1m klines were archived into {Path(folder).resolve()}\n" in filled("kdata", "btcusdt", "-e", "binance", "-i", "1m").err
    assert "holds no whole unit" in filled("storage", "archive", folder, "1m", "--older-than", "30").err
    next((tmp_path / "archive").rglob("*.parquet")).write_bytes(b"")
    broken = filled("storage", "archive", folder, "--verify")
    assert (broken.code, broken.out.endswith("1 files are wrong\n")) == (1, True)
    assert filled("storage", "archive", folder, "4h", "--older-than", "1").code == 0


def test_an_archive_of_days_names_only_days_with_rows_and_what_stays(
    filled: Zvt, database_url: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("ZVT_CRYPTO__DATABASE__POOL_SIZE", "1")

    async def fill(**changed: object) -> None:
        store = await open_store(database_url)
        await store.trades.append([trade(n, **changed) for n in range(5)], KNOWN)
        far = msgspec.structs.replace(trade(9), event_ns=trade(9).event_ns + 200 * NS_PER_DAY)
        await store.trades.append([far], KNOWN)
        await store.close()

    asyncio.run(fill())
    call = ["storage", "archive", str(tmp_path / "archive"), "trade", "--older-than", "30", "--remove", "--yes"]
    assert [line.partition(": ")[2].partition(",")[0] for line in filled(*call).out.splitlines()] == ["5 rows", "1 rows"]
    asyncio.run(fill(price=1.0))
    again = filled(*call)
    assert "0 removed from the database, 5 differ from the files and stay" in again.out
    assert "the rows of this day stay in the database" in again.err
    assert "Needed, unless with --verify." in filled("storage", "archive", "--help").out
