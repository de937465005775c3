"""Frames from Python: klines by way of the local copy, trades and funding, in three forms."""

from __future__ import annotations

import asyncio
from pathlib import Path

import polars as pl
import pytest

import zvt_crypto
from stores_fixtures import KNOWN, PAIR, PERP, bar, trade
from zvt_crypto.cli.settings import Settings, load_settings
from zvt_crypto.domain.errors import BadInput, OutOfRange, UnknownSymbol
from zvt_crypto.domain.market import Funding
from zvt_crypto.domain.time import NS_PER_DAY
from zvt_crypto.stores.files.frames import funding_frame, kline_frame, trade_frame
from zvt_crypto.stores.postgres import open_store

BARS = [bar(n * 1440, close=100.0 + n % 3, instrument=name) for name in (PAIR.id, PERP.id) for n in range(-20, 40)]
TRADES = [trade(n) for n in range(6)]
FUNDING = [Funding(PERP.id, KNOWN + n * NS_PER_DAY, n / 1000) for n in range(3)]


async def put(url: str, bars: list) -> None:
    store = await open_store(url)
    await store.instruments.save([PAIR, PERP], KNOWN)
    await store.klines.upsert(bars, KNOWN)
    await store.trades.append(TRADES, KNOWN)
    await store.facts.save_funding(FUNDING, KNOWN)
    await store.close()


@pytest.fixture
def settings(database_url: str, tmp_path: Path) -> Settings:
    asyncio.run(put(database_url, BARS))
    return load_settings(environ={}, overrides={"database.url": database_url, "data_dir": tmp_path})


def test_klines_come_in_every_form_and_are_read_anew_once_they_changed(settings: Settings, database_url: str, tmp_path: Path) -> None:
    both = [PAIR.id, PERP.id]
    want = kline_frame(BARS)
    for _ in range(2):
        assert zvt_crypto.query_data(both, settings=settings).equals(want)
    copies = list((tmp_path / "cache" / "1m").rglob("*.arrow"))
    assert {path.name[:6] for path in copies} == {"202407", "202408", "202409"}
    table = zvt_crypto.query_data(PAIR.id, frame="arrow", columns=["timestamp", "close"], settings=settings)
    assert table.column_names == ["timestamp", "close"]
    assert table.num_rows == 60
    pandas = zvt_crypto.query_data(PAIR.id, frame="pandas", settings=settings)
    assert (pandas.index.name, len(pandas)) == ("timestamp", 60)
    assert zvt_crypto.query_data(PAIR.id, frame="rows", limit=2, settings=settings) == [
        bar(n * 1440, close=100.0 + n % 3) for n in (38, 39)
    ]
    asyncio.run(put(database_url, [bar(-20 * 1440, close=102.5)]))
    again = zvt_crypto.query_data(PAIR.id, settings=settings)
    assert again["close"][0] == 102.5
    assert again.tail(59).equals(want.slice(1, 59))


def test_no_copy_is_made_where_the_settings_want_none(settings: Settings, database_url: str, tmp_path: Path) -> None:
    none = load_settings(environ={}, overrides={"database.url": database_url, "data_dir": tmp_path, "cache.size_mb": 0})
    assert zvt_crypto.query_data(PAIR.id, settings=none).height == 60
    assert not (tmp_path / "cache").exists()


def test_trades_and_funding_are_frames_too(settings: Settings) -> None:
    assert zvt_crypto.query_trades(PAIR.id, settings=settings).equals(trade_frame(TRADES))
    part = zvt_crypto.query_trades(PAIR.id, TRADES[1].event_ns, TRADES[4].event_ns, limit=2, columns=["trade_id"], settings=settings)
    assert part.equals(pl.DataFrame({"trade_id": ["1001", "1002"]}))
    assert zvt_crypto.query_funding(PERP.id, settings=settings).equals(funding_frame(FUNDING))
    assert zvt_crypto.query_funding([PAIR.id, PERP.id], FUNDING[1].event_ns, settings=settings, frame="arrow").num_rows == 2


def test_what_cannot_be_meant_is_refused_by_name(settings: Settings) -> None:
    with pytest.raises(BadInput, match="'volatility'"):
        zvt_crypto.query_trades(PAIR.id, columns=["volatility"], settings=settings)
    with pytest.raises(BadInput, match="list of names"):
        zvt_crypto.query_funding(PERP.id, columns="rate", settings=settings)
    with pytest.raises(BadInput, match="'rows'"):
        zvt_crypto.query_trades(PAIR.id, frame="rows", settings=settings)  # type: ignore[arg-type]
    with pytest.raises(OutOfRange, match="limit"):
        zvt_crypto.query_trades(PAIR.id, limit=0, settings=settings)
    with pytest.raises(UnknownSymbol, match="nobody"):
        zvt_crypto.query_funding("nobody", settings=settings)


def test_a_package_that_is_not_installed_is_named(settings: Settings, monkeypatch: pytest.MonkeyPatch) -> None:
    def missing(self: pl.DataFrame) -> None:
        raise ModuleNotFoundError("No module named 'pyarrow'", name="pyarrow")

    monkeypatch.setattr(pl.DataFrame, "to_pandas", missing)
    with pytest.raises(BadInput, match=r"needs the package pyarrow: pip install 'zvt-crypto\[pandas\]'"):
        zvt_crypto.query_data(PAIR.id, frame="pandas", settings=settings)
