"""Listings as long as a real exchange's: who is listed, and that nobody trades before somebody asks."""

from __future__ import annotations

import pytest

from emulator.emulator_kit import MINUTE_MS, SECOND_NS, START_NS
from zvt_crypto.domain.errors import BadInput
from zvt_crypto.emulator.market import DEFAULT_SYMBOLS, MarketWorld
from zvt_crypto.emulator.roster import base_code, spot_roster

LONG = (*DEFAULT_SYMBOLS, *spot_roster(60, 40))
NOW_NS = START_NS + 150 * SECOND_NS


def test_a_roster_names_as_many_pairs_and_assets_as_it_was_asked_for() -> None:
    roster = spot_roster(1_000, 500)
    assert len({symbol.name for symbol in roster}) == len(roster) == 1_000
    assert len({symbol.base for symbol in roster} | {symbol.quote for symbol in roster}) == 500
    assert [base_code(number) for number in (0, 25, 26, 26**3 - 1)] == ["QAAA", "QAAZ", "QABA", "QZZZ"]


def test_every_quote_is_named_however_few_pairs_there_are() -> None:
    roster = spot_roster(13, 14)
    assert len({symbol.base for symbol in roster} | {symbol.quote for symbol in roster}) == 14


@pytest.mark.parametrize(
    ("pairs", "assets", "told"),
    [(1_000, 100, "1000 pairs"), (10, 14, "10 pairs"), (5, 4, "name 4 assets"), (12, 14, "12 pairs"), (20_000, 19_000, "19000 assets")],
)
def test_a_roster_that_cannot_be_is_refused(pairs: int, assets: int, told: str) -> None:
    with pytest.raises(BadInput, match=told):
        spot_roster(pairs, assets)


def test_an_instrument_of_a_long_listing_has_traded_as_it_would_have_in_a_short_one() -> None:
    short = MarketWorld(7, DEFAULT_SYMBOLS, start_ns=START_NS, history_days=2)
    long = MarketWorld(7, LONG, start_ns=START_NS, history_days=2)
    short.advance(NOW_NS)
    long.advance(NOW_NS)
    assert long.status()["frames"] == 0  # nobody asked, nobody traded
    for name in ("BTCUSDT", "SOLUSDT"):
        here, there = short.listings("spot")[name], long.listings("spot")[name]
        assert long.trades(there, None, 500) == short.trades(here, None, 500)
        assert long.book(there, 100) == short.book(here, 100)
        assert long.bars(there, "1m", None, None, 20) == short.bars(here, "1m", None, None, 20)
        assert long.day(there) == short.day(here)


def test_an_instrument_that_wakes_when_it_is_watched_goes_on_as_in_a_short_listing() -> None:
    worlds = [MarketWorld(7, symbols, start_ns=START_NS, history_days=2) for symbols in (DEFAULT_SYMBOLS, LONG)]
    told = []
    for world in worlds:
        for stream in ("ethusdt@trade", "ethusdt@depth@100ms", "ethusdt@kline_1m"):
            world.watch("spot", stream, NOW_NS)
        told.append([world.poll(NOW_NS + minute * MINUTE_MS * 1_000_000, 0) for minute in (1, 2)])
    assert told[0] == told[1]
    assert len(told[0][1]) > 100
