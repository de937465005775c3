"""What of a script of faults is refused before anything starts, for one exchange or for several; and what happens to what is not."""

from __future__ import annotations

import asyncio
import json
import time
from collections.abc import Sequence

import pytest
from emulator_kit import START_NS
from test_fault_scripts import one

from zvt_crypto.domain.errors import BadInput
from zvt_crypto.emulator.changes import TRIED_MOST
from zvt_crypto.emulator.dialect import Dialect
from zvt_crypto.emulator.dialects import DIALECTS
from zvt_crypto.emulator.market import DEFAULT_SYMBOLS, READY_SYMBOLS, MarketWorld, Symbol
from zvt_crypto.emulator.roster import long_listing
from zvt_crypto.emulator.script import read_script, set_up, set_up_all
from zvt_crypto.emulator.server import EmulatorServer
from zvt_crypto.venues.http import NetTransport

ALL = tuple(DIALECTS)
SECOND_NS = 1_000_000_000


def played(*exchanges: str, symbols: Sequence[Symbol] = READY_SYMBOLS, start_ns: int = START_NS, rate: float = 2.0) -> list[Dialect]:
    return [DIALECTS[name](MarketWorld(1, symbols, start_ns=start_ns, events_per_s=rate, history_days=1)) for name in exchanges]


def refusal(text: str, *exchanges: str, symbols: Sequence[Symbol] = READY_SYMBOLS) -> str:
    dialects = played(*exchanges, symbols=symbols)
    with pytest.raises(BadInput) as found:
        set_up_all(read_script(text), dialects, START_NS)
    assert [dialect.faults.due_ns() for dialect in dialects] == [None] * len(dialects)  # nothing of it is set up
    return str(found.value)


def markets_of(dialect: Dialect) -> list[dict[str, int]]:
    return [{name: listing.tick_e8 for name, listing in dialect.world.listings(m).items()} for m in ("spot", "usdm", "coinm")]  # type: ignore[arg-type]


def test_a_dialect_has_the_name_that_it_is_found_by() -> None:
    assert [dialect.exchange for dialect in played(*ALL, symbols=DEFAULT_SYMBOLS[:1])] == list(ALL)


@pytest.mark.parametrize("exchange", ["binance", "coinbase"])
def test_books_that_never_restart_are_refused_at_once(exchange: str) -> None:
    assert refusal(one("cut") + one("restart_books"), exchange).startswith(
        f"fault 2 (restart_books) at {exchange}: {exchange} never restarts"
    )


def test_among_several_the_hint_names_those_that_do_and_the_key_keeps_an_entry_for_one() -> None:
    said = refusal(one("restart_books"), *ALL)
    assert said.endswith('; for one that does, say exchange = "bybit" or "okx"')
    assert "fault 1 (restart_books) at binance" in said
    dialects = played(*ALL)
    set_up_all(read_script(one("restart_books", exchange="okx") + one("cut", at="9s")), dialects, START_NS)
    due = [dialect.faults.due_ns() for dialect in dialects]
    assert due == [START_NS + (5 if name == "okx" else 9) * SECOND_NS for name in ALL]


def test_an_entry_for_an_exchange_that_is_not_played_is_refused() -> None:
    said = refusal(one("cut", exchange="okx"), "binance", "bybit")
    assert said == "fault 1 (cut) is for exchange 'okx', which is not played; played: binance, bybit"


@pytest.mark.parametrize(
    ("text", "said"),
    [
        (one("delist", symbol="NOPE"), "fault 1 (delist) at binance: spot has no 'NOPE'; it has BTCUSDT, ETHUSDT, SOLUSDT"),
        (one("revise_kline", symbol="NOPE"), "fault 1 (revise_kline) at binance: spot has no 'NOPE'"),
        (one("finer_tick", symbol="NOPE", market="usdm"), "usdm has no 'NOPE'; it has BTCUSDT, ETHUSDT"),
        (
            one("finer_tick", factor=3),
            "fault 1 (finer_tick) at binance: tick 0.01 of BTCUSDT cannot be 3 times finer: 2, 5 and 10 times are",
        ),
        (one("finer_tick", factor=2.5), "cannot be 2.5 times finer"),
        (one("list", base="BTC"), "fault 1 (list) at binance: symbol 'BTCUSDT' is listed twice on spot"),
        (one("list", base="btc"), "symbol 'BTCUSDT' is listed twice on spot"),
        (one("list", base="B-C"), "base 'B-C' is not made of letters and digits"),
        (one("delist", market="options"), "fault 1 (delist) at binance: unknown market 'options': known are spot, usdm, coinm"),
        (one("delist", market="coinm"), "fault 1 (delist) at binance: market coinm is not listed there, only spot, usdm"),
    ],
)
def test_a_change_that_cannot_be_made_is_refused_with_its_entry_value_and_exchange(text: str, said: str) -> None:
    assert said in refusal(text, "binance")


@pytest.mark.parametrize(
    ("text", "said"),
    [
        (
            one("list", base="BTC", quote="USD"),
            "fault 1 (list) at coinbase: symbol 'BTCUSD' would be BTC-USD, which is the name of BTCUSDT",
        ),
        (
            one("list", base="NEW", quote="USD") + one("list", base="NEW", at="9s"),
            "fault 2 (list) at coinbase: symbol 'NEWUSDT' would be NEW-USD, which is the name of NEWUSD there",
        ),
    ],
)
def test_two_listings_of_one_name_are_refused_where_they_have_one(text: str, said: str) -> None:
    assert said in refusal(text, *ALL)


def test_a_dollar_pair_is_listed_where_its_name_is_free() -> None:
    text = one("delist", symbol="BTCUSDT") + one("list", base="BTC", quote="USD", at="9s")
    dialects = played(*ALL)
    set_up_all(read_script(text), dialects, START_NS)
    for dialect in dialects:
        dialect.poll(START_NS + 10 * SECOND_NS)
        assert "BTCUSD" in dialect.world.listings("spot")
        assert "BTCUSDT" not in dialect.world.listings("spot")


def test_a_long_listing_is_not_told_whole() -> None:
    said = refusal(one("delist", symbol="NOPE"), "bybit", symbols=long_listing(1000))
    assert said.endswith("and 977 more")  # 1000 without three perpetuals, and the twenty that are named
    assert len(said) < 400


def test_inverse_contracts_are_known_where_they_are_listed() -> None:
    changes = [
        one("finer_tick", market="coinm", factor=10),
        one("list", market="coinm", base="ETH"),
        one("revise_kline", market="coinm", symbol="ethusd", at="130s"),
        one("delist", market="coinm", symbol="BTCUSD", at="150s"),
    ]
    for dialect in (two := played("bybit", "okx")):
        told: list[str] = []
        dialect.faults.on_failure = told.append
        set_up(read_script("".join(changes)), dialect, START_NS)
        for second in range(0, 161, 20):
            dialect.poll(START_NS + second * SECOND_NS)
        assert (told, list(dialect.world.listings("coinm"))) == ([], ["ETHUSD"])
        (trade,) = dialect.world.trades(dialect.world.listings("coinm")["ETHUSD"], None, 1)
        assert trade.price > 0
    assert two[0].world.trades(two[0].world.listings("coinm")["ETHUSD"], None, 500) == two[1].world.trades(
        two[1].world.listings("coinm")["ETHUSD"], None, 500
    )
    assert "an inverse contract is quoted in USD, not in 'USDT'" in refusal(one("list", market="coinm", base="ETH", quote="USDT"), "okx")
    said = refusal(one("delist", market="coinm"), "binance", "okx")
    assert said.endswith('; for one that does, say exchange = "okx"')


def test_what_a_script_lists_itself_may_be_changed_by_it_and_what_it_delists_may_not() -> None:
    (dialect,) = played("okx")
    listed = (
        one("list", at="5s", base="NEW")
        + one("finer_tick", at="6s", symbol="NEWUSDT", factor=10)
        + one("delist", at="9s", symbol="NEWUSDT")
    )
    set_up(read_script(listed + one("list", at="10s", base="NEW")), dialect, START_NS)
    dialect.poll(START_NS + 7 * SECOND_NS)
    assert markets_of(dialect)[0]["NEWUSDT"] == 1_000  # 0.0001, ten times finer
    dialect.poll(START_NS + 12 * SECOND_NS)
    assert markets_of(dialect)[0]["NEWUSDT"] == 10_000
    # By its time, not by its place in the script.
    assert refusal(one("delist", at="5s", symbol="NEWUSDT") + one("list", at="6s", base="NEW"), "okx").startswith(
        "fault 1 (delist) at okx: spot"
    )
    assert "spot has no 'NEWUSDT'" in refusal(listed + one("revise_kline", at="9500ms", symbol="NEWUSDT"), "okx")


def test_what_repeats_is_tried_as_often_as_it_comes() -> None:
    # 0.01 can be ten times finer six times: 1e-8 is the finest step.
    assert refusal(one("finer_tick", every="1m"), "okx").startswith("fault 1 (finer_tick) at okx, time 7: tick 1e-08 of BTCUSDT")
    assert "time 2: symbol 'NEWUSDT' is listed twice" in refusal(one("list", every="1m"), "okx")
    for_ever = one("list", at="1s", every="20s") + one("delist", at="11s", every="20s", symbol="NEWUSDT")
    (dialect,) = played("okx")
    told: list[str] = []
    dialect.faults.on_failure = told.append
    set_up(read_script(for_ever), dialect, START_NS)
    for second in range(100):
        dialect.poll(START_NS + second * SECOND_NS)
        assert ("NEWUSDT" in markets_of(dialect)[0]) == (second % 20 in range(1, 11))
    assert told == []


def test_a_plan_that_repeats_quickly_hides_no_later_entry() -> None:
    often = one("revise_kline", at="0s", every="1ms")
    late = f"{TRIED_MOST // 500}s"  # after more changes than are tried
    assert "fault 2 (delist) at okx: spot has no 'NOPE'" in refusal(often + one("delist", at=late, symbol="NOPE"), "okx")


def test_a_fault_that_fails_at_its_time_is_told_once_and_the_exchange_goes_on() -> None:
    (dialect,) = played("binance", rate=20.0)
    told: list[str] = []
    dialect.faults.on_failure = told.append
    set_up(read_script(one("revise_kline", symbol="ETHUSDT", every="1s") + one("limits", at="8s")), dialect, START_NS)
    dialect.world.delist("spot", "ETHUSDT")  # type: ignore[attr-defined]  # behind the script's back
    frames = 0
    session = dialect.begin(dialect.admit("/ws/btcusdt@trade", "", START_NS), START_NS)
    for second in range(12):
        dialect.poll(START_NS + second * SECOND_NS)
        frames += second > 9 and len(session.outbox)
        session.outbox.clear()
    assert told == ["fault 1 (revise_kline) at binance: spot has no 'ETHUSDT'; it has BTCUSDT, SOLUSDT"]
    assert frames > 0
    limits = json.loads(dialect.handle_http("GET", "/api/v3/exchangeInfo", "", {}, START_NS)[2])["rateLimits"]
    assert [row["limit"] for row in limits if row["rateLimitType"] == "REQUEST_WEIGHT"] == [3000]  # halved: the later fault came


async def test_over_sockets_frames_come_after_a_fault_that_failed() -> None:
    start_ns = time.time_ns()
    (dialect,) = played("binance", rate=50.0, start_ns=start_ns, symbols=DEFAULT_SYMBOLS[:2])
    told: asyncio.Queue[str] = asyncio.Queue()
    dialect.faults.on_failure = told.put_nowait
    set_up(read_script(one("delist", at="300ms", symbol="ETHUSDT")), dialect, start_ns)
    dialect.world.delist("spot", "ETHUSDT")  # type: ignore[attr-defined]
    server, net = EmulatorServer(dialect), NetTransport()
    try:
        _, ws_url = await server.start()
        socket = await net.connect(f"{ws_url}/ws/btcusdt@trade")
        assert "spot has no 'ETHUSDT'" in await asyncio.wait_for(told.get(), 20)
        after = {payload for _ in range(3) for payload, _ in await asyncio.wait_for(socket.receive(), 20)}
        assert all(json.loads(payload)["e"] == "trade" for payload in after)
        again = await net.connect(f"{ws_url}/ws/btcusdt@trade")
        assert await asyncio.wait_for(again.receive(), 20)
    finally:
        await net.close()
        await server.stop()
