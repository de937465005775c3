"""Several exchanges, played side by side, show one market: the same trades and books at the same instant, whatever faults one of them has."""

from __future__ import annotations

import datetime as dt
import json
import urllib.request
from decimal import Decimal
from typing import Any

import pytest
from emulator_kit import START_NS
from test_fault_scripts import one

from cli.cli_parts import emulated
from zvt_crypto.domain.time import NS_PER_MINUTE
from zvt_crypto.emulator.dialect import Dialect
from zvt_crypto.emulator.dialects import DIALECTS
from zvt_crypto.emulator.market import DEFAULT_SYMBOLS, MarketWorld
from zvt_crypto.emulator.script import read_script, set_up_all

ALL = tuple(DIALECTS)
SPOT = DEFAULT_SYMBOLS[0]
Row = tuple[int, int, Decimal, Decimal]  # of a trade: id, milliseconds, price, size
# exchange → (path, query) of its newest trades of BTC
ASKED = {
    "binance": ("/api/v3/trades", "symbol=BTCUSDT&limit=60"),
    "bybit": ("/v5/market/recent-trade", "category=spot&symbol=BTCUSDT&limit=60"),
    "okx": ("/api/v5/market/trades", "instId=BTC-USDT&limit=60"),
    "coinbase": ("/products/BTC-USD/trades", "limit=60"),
}


def rows_of(exchange: str, body: bytes) -> list[Row]:
    """Oldest first."""
    told: Any = json.loads(body)
    made = {
        "binance": lambda: [(row["id"], row["time"], row["price"], row["qty"]) for row in told],
        "bybit": lambda: [(row["seq"], row["time"], row["price"], row["size"]) for row in told["result"]["list"]],
        "okx": lambda: [(row["tradeId"], row["ts"], row["px"], row["sz"]) for row in told["data"]],
        "coinbase": lambda: [(row["trade_id"], _ms(row["time"]), row["price"], row["size"]) for row in told],
    }[exchange]()
    return sorted((int(number), int(ms), Decimal(price), Decimal(size)) for number, ms, price, size in made)


def _ms(text: str) -> int:
    return round(dt.datetime.fromisoformat(text).timestamp() * 1000)


def shown(dialect: Dialect, now_ns: int) -> list[tuple[int, Decimal, Decimal]]:
    """Times, prices and sizes of the newest trades, in the exchange's own words."""
    path, query = ASKED[dialect.exchange]
    status, _, body = dialect.handle_http("GET", path, query, {}, now_ns)
    assert status == 200, body
    return [row[1:] for row in rows_of(dialect.exchange, body)]


def side_by_side(script: str) -> list[Dialect]:
    worlds = [MarketWorld(7, (SPOT, DEFAULT_SYMBOLS[1]), start_ns=START_NS, events_per_s=10.0, history_days=1) for _ in ALL]
    made = [DIALECTS[name](world) for name, world in zip(ALL, worlds, strict=True)]
    set_up_all(read_script(script), made, START_NS)
    return made


# Everything that happens on the way to a client, at one of the four.
TOLD_OTHERWISE = "".join(
    one(kind, at=f"{10 + 7 * turn}s", exchange="okx", **keys)
    for turn, (kind, keys) in enumerate(
        [
            ("drop", {"times": 20}), ("delay", {"times": 20}), ("duplicate", {}), ("reorder", {}), ("corrupt", {}), ("truncate", {}),
            ("cut", {}), ("close", {}), ("day_over", {}), ("stall", {"for": "9s"}), ("heartbeats_only", {"for": "9s"}),
            ("refuse", {"for": "9s"}), ("limits", {"factor": 0.5}), ("clock_skew", {"by": "3s"}), ("restart_books", {}),
            ("late_klines", {"times": 3}), ("clock_skew", {"by": "0s"}),
        ]
    )
)  # fmt: skip


@pytest.mark.parametrize("script", ["", TOLD_OTHERWISE], ids=["calm", "faults"])
def test_after_minutes_all_show_the_same_trades_and_book(script: str) -> None:
    dialects = side_by_side(script)
    listener = dialects[ALL.index("okx")]
    session = listener.begin(listener.admit("/ws/v5/public", "", START_NS), START_NS)
    wanted = {"op": "subscribe", "args": [{"channel": "trades", "instId": "BTC-USDT"}, {"channel": "books", "instId": "BTC-USDT"}]}
    listener.on_text(session, json.dumps(wanted).encode(), START_NS)
    seen = set()
    for minute in range(1, 6):
        now_ns = START_NS + minute * NS_PER_MINUTE
        for steps, dialect in zip((600, 60, 211, 7), dialects, strict=True):  # each is looked at in a rhythm of its own
            for step in range(steps):
                dialect.poll(now_ns - NS_PER_MINUTE * (steps - 1 - step) // steps)
        if minute in (2, 3) and script:
            continue  # one exchange's clock is three seconds ahead now, and so are its trades
        told = [shown(dialect, now_ns) for dialect in dialects]
        assert len(told[0]) == 60
        assert told == [told[0]] * len(ALL)
        books = [dialect.world.book(dialect.world.listings("spot")["BTCUSDT"], 50)[2:] for dialect in dialects]
        assert books == [books[0]] * len(ALL)
        seen.add(told[0][-1])
    assert len(seen) >= 3  # time went on


def test_one_whose_clock_is_ahead_shows_what_the_others_show_at_that_hour() -> None:
    dialects = side_by_side(one("clock_skew", by="3s", exchange="okx"))
    for second in range(1, 31):
        for dialect in dialects:
            now_ns = START_NS + second * 1_000_000_000
            dialect.poll(now_ns + dialect.faults.skew_ns)
    assert [dialect.faults.skew_ns for dialect in dialects] == [0, 0, 3_000_000_000, 0]
    ahead = shown(dialects[ALL.index("okx")], START_NS + 33 * 1_000_000_000)
    assert ahead != shown(dialects[0], START_NS + 30 * 1_000_000_000)
    assert ahead == shown(dialects[0], START_NS + 33 * 1_000_000_000)


def test_what_changes_the_market_changes_it_alike_at_all_that_it_is_for() -> None:
    text = one("list", at="59500ms", base="NEW") + one("finer_tick", at="70s") + one("delist", at="80s", symbol="ETHUSDT", exchange="bybit")
    dialects = side_by_side(text)
    for minute in (1, 2, 3):
        now_ns = START_NS + minute * NS_PER_MINUTE
        for late_ns, dialect in zip((0, 400_000_000, 900_000_000, 0), dialects, strict=True):  # found due before the minute's end, or after
            dialect.poll(now_ns - 500_000_000 + late_ns)
    end_ns = START_NS + 4 * NS_PER_MINUTE
    listed, trades = [], []
    for dialect in dialects:
        dialect.poll(end_ns)
        spot = dialect.world.listings("spot")
        listed.append((list(spot), spot["BTCUSDT"].tick_e8))
        trades.append(dialect.world.trades(spot["NEWUSDT"], None, 1000))
    assert trades == [trades[0]] * len(ALL)
    assert len(trades[0]) > 20
    assert [names for names, _ in listed] == [
        ["BTCUSDT", "NEWUSDT"] if name == "bybit" else ["BTCUSDT", "ETHUSDT", "NEWUSDT"] for name in ALL
    ]  # fmt: skip
    assert {tick for _, tick in listed} == {100_000}


def ask(place: Any, exchange: str, base: str) -> dict[int, tuple[int, Decimal, Decimal]]:
    path, query = ASKED[exchange]
    with urllib.request.urlopen(f"{place['exchanges'][exchange]['rest_url']}{path}?{query}".replace("BTC", base), timeout=20) as answer:
        return {row[0]: row[1:] for row in rows_of(exchange, answer.read())}


def test_the_command_plays_one_market_at_all_four() -> None:
    bases = ("BTC", "ETH", "SOL")  # of several, so that one event between two starts would show
    with emulated("market", "--exchange", ",".join(ALL), "--seed", "7", "--rate", "30") as place:
        told = {base: {name: ask(place, name, base) for name in ALL} for base in bases}
    for base in bases:
        first = told[base]["binance"]
        for name in ALL:
            both = first.keys() & told[base][name].keys()
            assert len(both) >= 20, (base, name)
            assert {number: first[number] for number in both} == {number: told[base][name][number] for number in both}, (base, name)
