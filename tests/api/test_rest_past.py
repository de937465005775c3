"""The past over HTTP: what was known then, and what was listed then."""

from __future__ import annotations

from decimal import Decimal

import msgspec

from api.api_parts import BTC, NOW, Api, make_kline
from zvt_crypto.domain.market import BookSnapshot, BookStale
from zvt_crypto.domain.time import NS_PER_S, to_rfc3339
from zvt_crypto.engine.booklog import SegmentLog

ASK = {"symbol": BTC.id, "interval": "1m"}


async def test_kdata_as_of_a_moment_is_what_was_known_then(api: Api) -> None:
    minutes = [f"2024-08-09T00:0{n}:00Z" for n in range(3)]
    await api.store.klines.upsert([make_kline(at, 100.0) for at in minutes[:2]], NOW)
    await api.store.klines.upsert([make_kline(minutes[1], 105.0), make_kline(minutes[2], 100.0)], NOW + 60 * NS_PER_S)

    async def closes(as_of_ns: int, **more: str) -> list[str]:
        status, answer = await api.get("/kdata", **ASK, as_of=to_rfc3339(as_of_ns), **more)
        assert (status, answer["count"]) == (200, len(answer["data"]))
        return [row["close"] for row in answer["data"]]

    assert await closes(NOW - NS_PER_S) == []
    assert await closes(NOW + NS_PER_S) == ["100.00", "100.00"]
    assert await closes(NOW + 61 * NS_PER_S) == ["100.00", "105.00", "100.00"]
    assert await closes(NOW + 61 * NS_PER_S, limit="2") == ["105.00", "100.00"]
    _, first = await api.get("/kdata", **ASK, as_of=to_rfc3339(NOW + 61 * NS_PER_S), start=minutes[0], limit="2")
    assert ([row["close"] for row in first["data"]], first["next"]) == (["100.00", "105.00"], "2024-08-09T00:02:00.000Z")
    _, last = await api.get("/kdata", **ASK, as_of=to_rfc3339(NOW + 61 * NS_PER_S), start=first["next"], limit="2")
    assert ([row["close"] for row in last["data"]], "next" in last) == (["100.00"], False)
    status, problem = await api.get("/kdata", **ASK, as_of="yesterday")
    assert (status, problem["code"]) == (422, "bad_time")


async def test_pairs_at_a_moment_are_those_that_were_listed_then(api: Api) -> None:
    hour = 3600 * NS_PER_S
    await api.store.instruments.save([msgspec.structs.replace(BTC, tick=Decimal("0.1"))], NOW + hour)
    await api.store.instruments.delist(BTC.id, NOW + 2 * hour)

    async def found(at_ns: int) -> dict[str, str]:
        _, answer = await api.get("/pairs", exchange="binance", kind="pair", at=to_rfc3339(at_ns))
        return {row["id"]: row["tick"] for row in answer["pairs"]}

    assert [await found(NOW + n * hour) for n in (-1, 0, 1, 2)] == [{}, {BTC.id: "0.01"}, {BTC.id: "0.1"}, {}]
    status, problem = await api.get("/pairs", at="2024-13-01")
    assert (status, problem["code"]) == (422, "bad_time")


async def test_the_order_book_of_a_past_instant(api: Api) -> None:
    log = SegmentLog(BookSnapshot(BTC.id, 7, [(99.0, 1.0), (98.5, 2.0)], [(101.0, 1.5)], NOW, NOW + 5_000_000), NOW)
    log.take(BookStale(BTC.id, "gap after update 7", NOW + NS_PER_S), NOW + NS_PER_S)
    await api.store.book_log.save([log.close(NOW + 2 * NS_PER_S)], NOW)
    status, answer = await api.get("/orderbook", symbol=BTC.id, depth="1", at=to_rfc3339(NOW + NS_PER_S // 2))
    assert status == 200
    assert answer == {
        "bids": [["99.00", "1.00000"]],
        "asks": [["101.00", "1.50000"]],
        "timestamp": to_rfc3339(NOW),
        "symbol": BTC.id,
        "stale": False,
        "age_ms": 495,
        "update_id": 7,
    }
    status, problem = await api.get("/orderbook", symbol=BTC.id, at=to_rfc3339(NOW + NS_PER_S))
    assert (status, problem["code"]) == (503, "stale")
    status, problem = await api.get("/orderbook", symbol=BTC.id, at=to_rfc3339(NOW + 3 * NS_PER_S))
    assert (status, problem["code"]) == (404, "not_found")
