"""Frames carry real UTC timestamps and float64; text carries every digit."""

from __future__ import annotations

import csv
import datetime as dt
import io
import json
from decimal import Decimal

import polars as pl
from hypothesis import given
from hypothesis import strategies as st

from stores_fixtures import PAIR, START, bar, trade
from zvt_crypto.stores.files.frames import kline_frame, klines_json, to_csv, trade_frame, trades_json, write_parquet


def test_a_kline_frame_has_real_times_and_floats():
    frame = kline_frame([bar(0), bar(1, turnover=None, trades=None, final=False)])
    assert frame.schema["timestamp"] == pl.Datetime("ns", "UTC")
    assert frame["timestamp"].to_list() == [dt.datetime(2024, 8, 8, 23, 58, tzinfo=dt.UTC), dt.datetime(2024, 8, 8, 23, 59, tzinfo=dt.UTC)]
    assert frame.row(1, named=True) | {"timestamp": None} == {
        "timestamp": None,
        "entity_id": PAIR.id,
        "interval": "1m",
        "open": 100.0,
        "high": 103.0,
        "low": 99.0,
        "close": 101.0,
        "volume": 12.5,
        "turnover": None,
        "trades": None,
        "final": False,
        "source": "venue",
    }


def test_trades_keep_nanoseconds():
    frame = trade_frame([trade(event_ns=START + 123_456_789)])
    assert frame["timestamp"].dt.timestamp("ns").to_list() == [START + 123_456_789]
    assert to_csv(frame).splitlines()[1].startswith("2024-08-08T23:58:00.123456789Z,")


def test_empty_frames_have_their_columns():
    assert kline_frame([]).columns == kline_frame([bar()]).columns
    assert kline_frame([]).schema == kline_frame([bar()]).schema
    assert to_csv(trade_frame([])) == "timestamp,entity_id,stream,trade_id,price,quantity,side\n"


def test_csv_writes_rfc_3339_and_plain_digits():
    text = to_csv(kline_frame([bar(open=0.00000123, high=1e22, low=1e-8, close=0.30000000000000004, turnover=None)]))
    (row,) = csv.DictReader(io.StringIO(text))
    assert row["timestamp"] == "2024-08-08T23:58:00.000Z"
    assert (row["open"], row["high"], row["low"], row["close"]) == (
        "0.00000123",
        "10000000000000000000000",
        "0.00000001",
        "0.30000000000000004",
    )
    assert row["turnover"] == ""


@given(st.decimals(min_value=Decimal("1E-9"), max_value=10**9, places=9).filter(lambda d: len(d.normalize().as_tuple().digits) <= 15))
def test_fifteen_digits_survive_csv_and_json(number):
    row = bar(open=float(number), high=float(number), low=float(number), close=float(number))
    (line,) = csv.DictReader(io.StringIO(to_csv(kline_frame([row]))))
    assert Decimal(line["close"]) == number
    assert Decimal(json.loads(klines_json([row]))[0]["close"]) == number
    assert "E" not in line["close"].upper()


def test_parquet_comes_back_equal_and_leaves_no_half_file(tmp_path):
    frame = trade_frame([trade(n) for n in range(100)])
    write_parquet(frame, tmp_path / "trades.parquet")
    assert pl.read_parquet(tmp_path / "trades.parquet").equals(frame)
    assert [p.name for p in tmp_path.iterdir()] == ["trades.parquet"]


def test_json_writes_decimals_as_strings_at_the_instruments_precision():
    assert json.loads(klines_json([bar(turnover=None)], 2, 3)) == [
        {
            "timestamp": "2024-08-08T23:58:00.000Z",
            "open": "100.00",
            "high": "103.00",
            "low": "99.00",
            "close": "101.00",
            "volume": "12.500",
            "turnover": None,
            "trades": 40,
            "final": True,
            "source": "venue",
        }
    ]
    assert json.loads(trades_json([trade()], 2, 5)) == [
        {
            "trade_id": "1000",
            "price": "60000.01",
            "quantity": "0.00123",
            "side": "buy",
            "timestamp": "2024-08-08T23:58:00.000Z",
            "stream": "trade",
        }
    ]
