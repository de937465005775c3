"""GET /kdata over HTTP on a real store."""

from __future__ import annotations

import asyncio

import pytest

from api.api_parts import BTC, NOW, Api, make_kline
from zvt_crypto.api.klines import MAX_AGE_NS
from zvt_crypto.domain.time import NS_PER_S

ASK = {"symbol": BTC.id, "interval": "1m"}


async def closes(api: Api, **more: str) -> list[str]:
    status, answer = await api.get("/kdata", **ASK, **more)
    assert status == 200, answer
    assert answer["count"] == len(answer["data"])
    return [row["close"] for row in answer["data"]]


async def test_a_row_has_exactly_the_keys_of_the_contract_and_decimals_at_the_instruments_precision(api: Api) -> None:
    await api.store.klines.upsert([make_kline("2024-08-09T00:00:00Z", 61640.5)], NOW)
    status, answer = await api.get("/kdata", **ASK)
    assert status == 200
    assert answer == {
        "data": [
            {
                "timestamp": "2024-08-09T00:00:00.000Z",
                "open": "61640.50",
                "high": "61641.50",
                "low": "61640.50",
                "close": "61640.50",
                "volume": "2.50000",
                "turnover": "154101.25",
                "trades": 7,
                "final": True,
                "source": "venue",
            }
        ],
        "count": 1,
    }


@pytest.mark.parametrize("name", ["BTCUSDT", "btcusdt", "BTC/USDT", "BTC-USDT", "btc-usdt"])
async def test_every_name_of_a_pair_is_understood_with_an_exchange(api: Api, name: str) -> None:
    await api.store.klines.upsert([make_kline("2024-08-09T00:00:00Z")], NOW)
    status, answer = await api.get("/kdata", symbol=name, interval="1m", exchange="binance")
    assert (status, answer["count"]) == (200, 1)


async def test_a_perpetual_is_found_by_its_unified_name(api: Api) -> None:
    await api.store.klines.upsert([make_kline("2024-08-09T00:00:00Z", 5.0, instrument="cryptoperp_binance_btcusdt")], NOW)
    _, answer = await api.get("/kdata", symbol="BTC/USDT:USDT", interval="1m", exchange="binance")
    assert [row["close"] for row in answer["data"]] == ["5.0"]


async def test_the_newest_rows_come_oldest_first_and_a_hundred_when_nobody_says_how_many(api: Api) -> None:
    rows = [make_kline(f"2024-08-09T{i // 60:02d}:{i % 60:02d}:00Z", float(i + 1)) for i in range(150)]
    await api.store.klines.upsert(rows, NOW)
    assert await closes(api) == [f"{i}.00" for i in range(51, 151)]
    assert await closes(api, limit="3") == ["148.00", "149.00", "150.00"]


async def test_the_forming_bar_is_last_and_says_so_unless_only_closed_ones_are_wanted(api: Api) -> None:
    await api.store.klines.upsert([make_kline("2024-08-09T00:00:00Z", 10.0)], NOW)
    api.live.apply(make_kline("2024-08-09T00:01:00Z", 11.0, final=False))
    _, answer = await api.get("/kdata", **ASK)
    assert [(row["close"], row["final"]) for row in answer["data"]] == [("10.00", True), ("11.00", False)]
    assert await closes(api, final="true") == ["10.00"]
    assert await closes(api, final="true", limit="1") == ["10.00"]


async def test_a_new_event_is_in_the_next_answer_without_any_wait(api: Api) -> None:
    api.live.apply(make_kline("2024-08-09T00:01:00Z", 11.0, final=False))
    assert await closes(api) == ["11.00"]
    api.live.apply(make_kline("2024-08-09T00:01:00Z", 12.0, final=False))
    assert await closes(api) == ["12.00"]
    api.live.apply(make_kline("2024-08-09T00:01:00Z", 13.0))
    assert await closes(api) == ["13.00"]


async def test_a_final_row_that_a_better_source_replaces_is_answered_anew(api: Api) -> None:
    api.live.apply(make_kline("2024-08-09T00:00:00Z", 10.0, source="trades"))
    assert await closes(api) == ["10.00"]
    api.live.apply(make_kline("2024-08-09T00:00:00Z", 10.5, source="venue"))
    assert await closes(api) == ["10.50"]


async def test_a_row_that_a_backfill_revises_in_the_store_is_served_a_second_later_at_the_latest(api: Api) -> None:
    built = make_kline("2024-08-09T00:00:00Z", 10.0, source="trades")
    api.live.apply(built)
    await api.store.klines.upsert([built], NOW)
    assert await closes(api) == ["10.00"]
    await api.store.klines.upsert([make_kline("2024-08-09T00:00:00Z", 10.5, source="venue")], NOW)
    api.clock.ns += NS_PER_S
    assert await closes(api) == ["10.50"]


async def test_within_its_age_the_store_is_not_asked_again(api: Api) -> None:
    assert await closes(api) == []
    await api.store.klines.upsert([make_kline("2024-08-09T00:00:00Z", 10.0)], NOW)
    api.clock.ns += MAX_AGE_NS - 1
    assert await closes(api) == []
    api.clock.ns += 1
    assert await closes(api) == ["10.00"]


async def test_pages_lead_from_start_to_the_end_without_losing_or_repeating_a_row(api: Api) -> None:
    rows = [make_kline(f"2024-08-09T00:{i:02d}:00Z", float(i + 1)) for i in range(7)]
    await api.store.klines.upsert(rows[:5], NOW)
    for row in rows[5:]:  # the newest are not in the store yet
        api.live.apply(row)
    seen, start = [], "2024-08-09T00:00:00Z"
    for _ in range(4):
        _, answer = await api.get("/kdata", **ASK, start=start, limit="2")
        seen += [row["close"] for row in answer["data"]]
        start = answer.get("next", "")
    assert seen == [f"{i}.00" for i in range(1, 8)]
    assert start == ""


async def test_a_range_is_closed_at_its_start_and_open_at_its_end(api: Api) -> None:
    await api.store.klines.upsert([make_kline(f"2024-08-09T00:{i:02d}:00Z", float(i + 1)) for i in range(5)], NOW)
    assert await closes(api, start="2024-08-09T00:01:00Z", end="2024-08-09T00:03:00Z") == ["2.00", "3.00"]
    assert await closes(api, end="1723161780000", limit="1") == ["3.00"]  # 00:03:00 in ms


async def test_answers_asked_at_once_are_equal(api: Api) -> None:
    await api.store.klines.upsert([make_kline("2024-08-09T00:00:00Z", 10.0)], NOW)
    answers = await asyncio.gather(*(closes(api) for _ in range(20)))
    assert answers == [["10.00"]] * 20


@pytest.mark.parametrize(
    ("params", "status", "code", "named"),
    [
        ({"interval": "1m"}, 422, "bad_input", "'symbol'"),
        ({"symbol": BTC.id}, 422, "bad_input", "'interval'"),
        ({"symbol": "nonsense", "interval": "1m"}, 404, "unknown_symbol", "'nonsense'"),
        ({"symbol": BTC.id, "interval": "7m"}, 422, "unknown_interval", "'7m'"),
        ({**ASK, "limit": "0"}, 422, "out_of_range", "'0'"),
        ({**ASK, "limit": "1001"}, 422, "out_of_range", "'1001'"),
        ({**ASK, "limit": "ten"}, 422, "out_of_range", "'ten'"),
        ({**ASK, "limit": "²"}, 422, "out_of_range", "'²'"),
        ({**ASK, "start": "yesterday"}, 422, "bad_time", "'yesterday'"),
        ({**ASK, "start": "2024-08-09T00:00:00"}, 422, "bad_time", "2024-08-09T00:00:00"),
        ({**ASK, "start": "2024-08-09", "end": "2024-08-08"}, 422, "bad_time", "2024-08-08"),
        ({**ASK, "final": "perhaps"}, 422, "bad_input", "'perhaps'"),
        ({"symbol": "btcusdt", "interval": "1m", "exchange": "mtgox"}, 404, "unknown_exchange", "'mtgox'"),
        ({**ASK, "symbol": "x\x00y"}, 422, "bad_input", "NUL"),
        ({**ASK, "symbol": "x" * 201}, 422, "bad_input", "200"),
    ],
)
async def test_what_cannot_be_answered_is_a_problem_that_names_the_value(
    api: Api, params: dict[str, str], status: int, code: str, named: str
) -> None:
    given, problem = await api.get("/kdata", **params)
    assert (given, problem["status"], problem["code"]) == (status, status, code)
    assert set(problem) == {"type", "title", "status", "detail", "code", "instance"}
    assert named in problem["detail"]
    assert problem["instance"] == "/api/v1/crypto/kdata"
    assert problem["type"] == f"/docs#{code}"


async def test_without_a_database_the_live_run_still_answers_and_the_rest_says_503(api: Api) -> None:
    for i in range(4):
        api.live.apply(make_kline(f"2024-08-09T00:0{i}:00Z", float(i + 1)))
    await api.store.close()
    assert await closes(api, limit="3") == ["2.00", "3.00", "4.00"]
    status, problem = await api.get("/kdata", **ASK, limit="50")
    assert (status, problem["code"]) == (503, "store_unavailable")
