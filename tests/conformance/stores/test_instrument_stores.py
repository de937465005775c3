"""What every store of instruments and assets does. A new one joins by a line in `instrument_store`."""

from __future__ import annotations

import time
from decimal import Decimal

import msgspec
import pytest

from stores_fixtures import FUTURE, KNOWN, MINUTE, PAIR, PERP, START
from zvt_crypto.domain.errors import ConstraintViolated, NotFound
from zvt_crypto.domain.instrument import CryptoAsset, CryptoPair, Instruments, TradingStatus, assign_ids
from zvt_crypto.ports import InstrumentStore, Written

BTC = CryptoAsset(id="crypto_binance_btc", exchange="binance", symbol="BTC", full_name="Bitcoin", max_supply=Decimal(21_000_000))
BCH = CryptoAsset(id="crypto_binance_bch", exchange="binance", symbol="BCH", full_name="Bitcoin Cash")


@pytest.fixture(params=["postgres"])
def instrument_store(request, store) -> InstrumentStore:
    return {"postgres": store.instruments}[request.param]


def changed(instrument: CryptoPair, **fields: object) -> CryptoPair:
    return msgspec.structs.replace(instrument, **fields)


async def test_instruments_come_back_as_they_were(instrument_store):
    assert await instrument_store.save([PAIR, PERP, FUTURE], KNOWN) == Written(3)
    assert list(await instrument_store.load()) == [PAIR, PERP, FUTURE]
    assert list(await instrument_store.load("binance")) == [PAIR, PERP, FUTURE]
    assert list(await instrument_store.load("okx")) == []


async def test_saving_the_same_again_adds_no_fact(instrument_store):
    await instrument_store.save([PAIR], KNOWN)
    facts = await instrument_store.facts(PAIR.id)
    assert await instrument_store.save([PAIR], KNOWN + MINUTE) == Written(0, 0, 1)
    assert await instrument_store.facts(PAIR.id) == facts


async def test_what_changes_becomes_a_dated_fact_and_the_old_one_stays(instrument_store):
    await instrument_store.save([PAIR], KNOWN)
    await instrument_store.save([changed(PAIR, tick=Decimal("0.1"))], KNOWN + MINUTE)
    assert await instrument_store.save([changed(PAIR, tick=Decimal("0.1"), status=TradingStatus.SUSPENDED)], KNOWN + 2 * MINUTE) == Written(
        0, 1, 0
    )
    ticks = [fact for fact in await instrument_store.facts(PAIR.id) if fact[0] == "tick"]
    assert ticks == [("tick", "0.01", KNOWN, KNOWN), ("tick", "0.1", KNOWN + MINUTE, KNOWN + MINUTE)]
    (held,) = await instrument_store.load()
    assert (held.tick, held.status) == (Decimal("0.1"), TradingStatus.SUSPENDED)


async def test_a_value_may_go_and_come_back(instrument_store):
    for n, lot in enumerate((Decimal("0.1"), None, Decimal("0.1"))):
        await instrument_store.save([changed(PAIR, lot=lot)], KNOWN + n * MINUTE)
    assert [fact[1] for fact in await instrument_store.facts(PAIR.id) if fact[0] == "lot"] == ["0.1", None, "0.1"]


async def test_two_changes_at_one_moment_end_with_the_later(instrument_store):
    for tick in ("0.1", "0.5"):
        await instrument_store.save([changed(PAIR, tick=Decimal(tick))], KNOWN)
    (held,) = await instrument_store.load()
    assert held.tick == Decimal("0.5")


async def test_a_delisted_one_stays_in_the_table(instrument_store):
    await instrument_store.save([PAIR, PERP], START)
    await instrument_store.delist(PAIR.id, KNOWN)
    held = (await instrument_store.load()).get(PAIR.id)
    assert (held.status, held.delisted_ns) == (TradingStatus.DELISTED, KNOWN)
    with pytest.raises(NotFound, match="cryptopair_binance_nobody"):
        await instrument_store.delist("cryptopair_binance_nobody", KNOWN)


async def test_who_told_of_the_last_delisting_is_known(instrument_store):
    await instrument_store.save([PAIR, PERP], KNOWN)
    assert await instrument_store.delisted_by(PAIR.id) is None
    await instrument_store.delist(PAIR.id, KNOWN, by="user")
    assert await instrument_store.delisted_by(PAIR.id) == "user"
    await instrument_store.save([PAIR], KNOWN + MINUTE)
    await instrument_store.delist(PAIR.id, KNOWN + 2 * MINUTE)
    assert (await instrument_store.delisted_by(PAIR.id), await instrument_store.delisted_by(PERP.id)) == ("venue", None)


async def test_a_delisting_that_lies_ahead_is_known_but_not_yet_true(instrument_store):
    await instrument_store.save([PAIR], START)
    next_year = time.time_ns() + 365 * 24 * 60 * MINUTE
    await instrument_store.delist(PAIR.id, next_year)
    held = (await instrument_store.load()).get(PAIR.id)
    assert (held.status, held.delisted_ns) == (TradingStatus.ACTIVE, None)
    assert "delisted" in [fact[1] for fact in await instrument_store.facts(PAIR.id)]


async def test_a_delisting_dated_before_the_newest_change_is_true(instrument_store):
    await instrument_store.save([PAIR], KNOWN)
    await instrument_store.delist(PAIR.id, START)
    (held,) = await instrument_store.load()
    assert (held.status, held.delisted_ns) == (TradingStatus.DELISTED, START)


async def test_a_symbol_listed_again_with_the_same_parts_lives_on(instrument_store):
    await instrument_store.save([PAIR], START)
    await instrument_store.delist(PAIR.id, START + MINUTE)
    (again,) = assign_ids([PAIR], await instrument_store.load())
    await instrument_store.save([again], KNOWN)
    (held,) = await instrument_store.load()
    assert (held.id, held.status, held.delisted_ns) == (PAIR.id, TradingStatus.ACTIVE, None)


async def test_ids_that_would_collide_are_told_apart(instrument_store):
    """USD+CUSDT and USDC+USDT read the same."""
    first = changed(PAIR, id="", native_symbol="USDCUSDT", base_asset="USDC", quote_asset="USDT")
    later = changed(PAIR, id="", native_symbol="USD_CUSDT", base_asset="USD", quote_asset="CUSDT")
    await instrument_store.save(assign_ids([first], Instruments()), START)
    await instrument_store.save(assign_ids([later], await instrument_store.load()), KNOWN)
    assert [i.id for i in await instrument_store.load()] == ["cryptopair_binance_usdcusdt", "cryptopair_binance_usdcusdt_usd_cusdt"]


async def test_an_id_never_comes_to_mean_another_thing(instrument_store):
    await instrument_store.save([PAIR], START)
    with pytest.raises(ConstraintViolated, match="ids are never reused"):
        await instrument_store.save([changed(PAIR, base_asset="ETH")], KNOWN)


@pytest.mark.parametrize("wrong", [{"tick": Decimal(0)}, {"lot": Decimal(-1)}, {"min_notional": Decimal(-1)}, {"native_symbol": ""}])
async def test_a_wrong_instrument_is_refused_whole(instrument_store, wrong):
    with pytest.raises(ConstraintViolated):
        await instrument_store.save([PERP, changed(PAIR, **wrong)], KNOWN)
    assert list(await instrument_store.load()) == []


async def test_the_newest_settled_funding_is_a_perpetuals_rate(instrument_store, store):
    from zvt_crypto.domain.market import Funding

    await instrument_store.save([PERP], START)
    await store.facts.save_funding([Funding(PERP.id, START, 0.0003), Funding(PERP.id, START + MINUTE, 0.0001)], KNOWN)
    (held,) = await instrument_store.load()
    assert held.funding_rate == Decimal("0.0001")


async def test_instruments_bring_their_assets(instrument_store):
    await instrument_store.save([PAIR, PERP], START)
    assert [a.id for a in await instrument_store.load_assets("binance")] == ["crypto_binance_btc", "crypto_binance_usdt"]


async def test_assets_come_back_with_their_newest_facts(instrument_store):
    assert await instrument_store.save_assets([BTC, BCH], KNOWN, "a table of 2024") == Written(2)
    assert await instrument_store.save_assets([BTC], KNOWN, "a table of 2024") == Written(0, 0, 1)
    worth = msgspec.structs.replace(BTC, market_cap=Decimal("1200000000000.5"))
    assert await instrument_store.save_assets([worth], KNOWN + MINUTE, "a provider") == Written(0, 1, 0)
    assert await instrument_store.load_assets() == [BCH, worth]
    assert [(f, v) for f, v, *_ in await instrument_store.facts(BTC.id)] == [
        ("full_name", "Bitcoin"),
        ("max_supply", "21000000"),
        ("market_cap", "1200000000000.5"),
    ]


async def test_an_unknown_value_does_not_wipe_a_known_one(instrument_store):
    await instrument_store.save_assets([BTC], KNOWN, "s")
    await instrument_store.save_assets([msgspec.structs.replace(BTC, full_name=None, max_supply=None)], KNOWN + MINUTE, "s")
    assert await instrument_store.load_assets() == [BTC]


async def test_assets_are_found_by_name_and_symbol(instrument_store):
    await instrument_store.save_assets([BTC, BCH], KNOWN, "s")
    assert await instrument_store.search_assets("bitcoin") == [BTC]
    assert await instrument_store.search_assets("bitc") == [BCH, BTC]
    assert await instrument_store.search_assets("bitc", limit=1) == [BCH]
    assert await instrument_store.search_assets("btc", exchange="okx") == []


async def test_facts_of_nobody_are_not_found(instrument_store):
    with pytest.raises(NotFound, match="crypto_binance_nobody"):
        await instrument_store.facts("crypto_binance_nobody")


async def test_the_table_of_a_day_tells_a_life_of_listing_delisting_relisting_and_renaming(instrument_store):
    store, day = instrument_store, 24 * 60 * MINUTE
    pair = changed(PAIR, listed_ns=KNOWN - 100 * day)
    other = changed(PAIR, id="cryptopair_binance_xyzusdt", native_symbol="XYZUSDT", base_asset="XYZ", listed_ns=KNOWN + 40 * day)
    await store.save([pair, PERP], KNOWN)
    await store.save([changed(pair, tick=Decimal("0.1"), lot=Decimal("0.5"))], KNOWN + 10 * day)
    await store.delist(pair.id, KNOWN + 20 * day)
    await store.save([changed(pair, tick=Decimal("0.2"))], KNOWN + 22 * day)  # listed again
    await store.save([other], KNOWN + 40 * day)
    await store.rename(pair.id, other.id, KNOWN + 40 * day)

    async def at(days: int) -> dict[str, tuple[str, object, object]]:
        return {i.id: (i.status.value, i.tick, i.lot) for i in await store.load_at(KNOWN + days * day)}

    perp = {PERP.id: ("active", PERP.tick, PERP.lot)}
    assert await at(-101) == {}
    assert await at(-1) == {pair.id: ("unknown", None, None)}  # it was listed; its steps of then nobody told us
    assert await at(0) == {pair.id: ("active", PAIR.tick, PAIR.lot), **perp}
    assert await at(10) == {pair.id: ("active", Decimal("0.1"), Decimal("0.5")), **perp}
    assert await at(20) == perp
    assert await at(22) == {pair.id: ("active", Decimal("0.2"), PAIR.lot), **perp}
    assert await at(40) == {other.id: ("active", PAIR.tick, PAIR.lot), **perp}
    assert list(await store.load_at(KNOWN + 10 * day, "okx")) == []
    assert ("renamed_to", other.id) in [fact[:2] for fact in await store.facts(pair.id)]
    assert (await store.load()).get(pair.id).status is TradingStatus.DELISTED
    for wrong in ((pair.id, "cryptopair_binance_no"), ("cryptopair_binance_no", pair.id)):
        with pytest.raises(NotFound, match="cryptopair_binance_no"):
            await store.rename(*wrong, KNOWN)


async def test_a_contract_keeps_its_size_and_expiry_before_the_first_fact(instrument_store):
    sized = msgspec.structs.replace(FUTURE, contract_size=Decimal("0.01"), listed_ns=START - MINUTE)
    await instrument_store.save([sized], KNOWN)
    (found,) = await instrument_store.load_at(START)
    assert (found.contract_size, found.expiry_ns, found.tick) == (Decimal("0.01"), FUTURE.expiry_ns, None)
