"""What `emulator market` lists: all that is ready-made, what is named, or as many as a number says."""

from __future__ import annotations

import json

import pytest

from zvt_crypto.cli.commands.emulator import listing_of
from zvt_crypto.domain.errors import BadInput
from zvt_crypto.emulator.bybit.dialect import BybitDialect
from zvt_crypto.emulator.market import READY_SYMBOLS, MarketWorld
from zvt_crypto.emulator.roster import LONGEST


def test_without_names_all_that_is_ready_made_is_listed() -> None:
    assert listing_of(None) == READY_SYMBOLS


def test_names_choose_pairs_and_both_kinds_of_perpetuals() -> None:
    chosen = listing_of(("btcusdt", "BTC/USDT:USDT", "BTC/USD:BTC"))
    assert [(one.market, one.base, one.quote) for one in chosen] == [
        ("spot", "BTC", "USDT"), ("usdm", "BTC", "USDT"), ("coinm", "BTC", "USD"),
    ]  # fmt: skip
    with pytest.raises(BadInput, match="has no 'DOGEUSDT'; it has BTCUSDT"):
        listing_of(("DOGEUSDT",))


@pytest.mark.parametrize("count", [10, 11, 50, 1_000, LONGEST])
def test_a_number_lists_as_many(count: int) -> None:
    chosen = listing_of((str(count),))
    assert len({(one.market, one.name) for one in chosen}) == count
    assert chosen[: len(READY_SYMBOLS)] == READY_SYMBOLS


def test_a_thousand_name_five_hundred_assets() -> None:
    chosen = listing_of(("1000",))
    assert len({asset for one in chosen for asset in (one.base, one.quote)}) >= 500


@pytest.mark.parametrize("text", ["0", "9", "10001", "99999999999"])
def test_a_number_that_cannot_be_is_refused(text: str) -> None:
    with pytest.raises(BadInput, match="10 to 10000 can be made"):
        listing_of((text,))


def test_a_long_listing_is_told_by_rest() -> None:
    start_ns = 1_735_689_600_000_000_000
    dialect = BybitDialect(MarketWorld(1, listing_of(("200",)), start_ns=start_ns, history_days=1))
    told = {}
    for category in ("spot", "linear", "inverse"):
        _, _, body = dialect.handle_http("GET", "/v5/market/instruments-info", f"category={category}&limit=1000", {}, start_ns)
        told[category] = [row["symbol"] for row in json.loads(body)["result"]["list"]]
    assert {name: len(rows) for name, rows in told.items()} == {"spot": 197, "linear": 2, "inverse": 1}
    assert told["inverse"] == ["BTCUSD"]
