"""GET /exchanges, /pairs, /assets, /assets/search over HTTP on a real store."""

from __future__ import annotations

from decimal import Decimal

from api.api_parts import BTC, NOW, Api
from zvt_crypto.api.rest.assets import gather
from zvt_crypto.domain.instrument import CryptoAsset


async def test_the_exchanges_are_those_that_are_served(api: Api) -> None:
    assert await api.get("/exchanges") == (200, {"exchanges": ["binance"]})


async def test_pairs_lists_what_an_exchange_trades_by_id(api: Api) -> None:
    status, answer = await api.get("/pairs", exchange="binance")
    assert (status, answer["count"]) == (200, 3)
    ids = ["cryptofuture_binance_btcusdt_241227", "cryptopair_binance_btcusdt", "cryptoperp_binance_btcusdt"]
    assert [row["id"] for row in answer["pairs"]] == ids
    assert answer["pairs"][1] == {
        "id": "cryptopair_binance_btcusdt",
        "symbol": "BTCUSDT",
        "kind": "pair",
        "exchange": "binance",
        "base_asset": "BTC",
        "quote_asset": "USDT",
        "status": "active",
        "min_trade_amount": "0.00001",
        "min_notional": "5",
        "price_precision": 2,
        "quantity_precision": 5,
        "tick": "0.01",
        "lot": "0.00001",
        "ccxt_symbol": "BTC/USDT",
        "listed": None,
        "underlying_asset": None,
        "settlement_currency": None,
        "contract_size": None,
        "funding_rate": None,
        "expiry": None,
    }
    assert answer["pairs"][0]["expiry"] == "2024-12-27T08:00:00.000Z"


async def test_pairs_can_be_had_by_kind_and_in_pages(api: Api) -> None:
    _, answer = await api.get("/pairs", exchange="binance", kind="perp")
    assert [row["kind"] for row in answer["pairs"]] == ["perp"]
    _, first = await api.get("/pairs", exchange="binance", limit="2")
    assert (first["count"], first["next"]) == (2, BTC.id)
    _, second = await api.get("/pairs", exchange="binance", limit="2", cursor=first["next"])
    assert [row["id"] for row in second["pairs"]] == ["cryptoperp_binance_btcusdt"]
    assert "next" not in second


async def test_an_exchange_of_ours_without_data_has_no_pairs_and_a_stranger_is_an_error(api: Api) -> None:
    assert await api.get("/pairs", exchange="okx") == (200, {"pairs": [], "count": 0})
    status, problem = await api.get("/pairs", exchange="mtgox")
    assert (status, problem["code"]) == (404, "unknown_exchange")


async def test_the_frameworks_refusals_are_problems_too(api: Api) -> None:
    status, problem = await api.get("/pairs", limit="5001")
    assert (status, problem["code"]) == (422, "out_of_range")
    assert "'5001'" in problem["detail"]
    status, problem = await api.get("/pairs", kind="swap")
    assert (status, problem["code"], problem["detail"]) == (422, "bad_input", "kind 'swap' is none of pair, perp, future")
    status, problem = await api.get("/assets/search")
    assert (status, problem["code"]) == (422, "bad_input")
    assert problem["detail"] == "parameter 'q' is missing"


async def test_assets_have_their_sourced_facts_and_null_where_there_is_none(api: Api) -> None:
    status, answer = await api.get("/assets", exchange="binance")
    assert (status, answer["count"]) == (200, 3)
    assert answer["assets"][1] == {
        "id": "crypto_binance_btc",
        "symbol": "BTC",
        "full_name": "Bitcoin",
        "market_cap": None,
        "max_supply": "21000000",
        "exchange": "binance",
    }


async def test_bitcoin_is_one_asset(api: Api) -> None:
    status, answer = await api.get("/assets/search", q="bitcoin")
    assert (status, answer["count"]) == (200, 1)
    assert answer["results"][0]["symbol"] == "BTC"


async def test_bitcoin_is_one_asset_however_many_exchanges_list_it(api: Api) -> None:
    other = CryptoAsset(id="crypto_okx_btc", exchange="okx", symbol="BTC", full_name="Bitcoin")
    await api.store.instruments.save_assets([other], NOW, "test")
    _, answer = await api.get("/assets/search", q="bitcoin")
    assert answer["count"] == 1
    assert answer["results"][0]["exchanges"] == ["binance", "okx"]
    assert answer["results"][0]["ids"] == ["crypto_binance_btc", "crypto_okx_btc"]
    assert answer["results"][0]["max_supply"] == "21000000"
    _, answer = await api.get("/assets/search", q="bitcoin", exchange="okx")
    assert [row["ids"] for row in answer["results"]] == [["crypto_okx_btc"]]


def test_a_symbol_that_means_two_things_stays_two_results() -> None:
    def luna(exchange: str, name: str) -> CryptoAsset:
        return CryptoAsset(id=f"crypto_{exchange}_luna", exchange=exchange, symbol="LUNA", full_name=name, market_cap=Decimal(1))

    found = gather([luna("okx", "Terra 2.0"), luna("binance", "Terra Classic"), luna("binance", "Terra 2.0")])
    assert [(row.full_name, row.exchanges) for row in found] == [("Terra 2.0", ["binance", "okx"]), ("Terra Classic", ["binance"])]


async def test_a_blank_search_is_refused(api: Api) -> None:
    for blank in ("", "   ", "\x00"):
        status, problem = await api.get("/assets/search", q=blank)
        assert (status, problem["code"]) in ((422, "bad_input"), (422, "out_of_range")), problem
