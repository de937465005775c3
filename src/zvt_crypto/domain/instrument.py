"""What is traded: assets, pairs, perpetuals, dated contracts; their ids; and the table that reads names back.

An id such as `cryptopair_binance_usdcusdt` cannot be taken apart by its letters (USD+CUSDT? USDC+USDT?), so nothing here tries:
ids are built from parts and looked up in an `Instruments` table.
"""

from __future__ import annotations

import difflib
import enum
from collections.abc import Iterable, Iterator, Mapping
from decimal import Decimal
from types import MappingProxyType
from typing import Literal

import msgspec

from zvt_crypto.domain.errors import AmbiguousSymbol, BadInput, UnknownSymbol, shown
from zvt_crypto.domain.exchanges import ALL_EXCHANGES as ALL_EXCHANGES
from zvt_crypto.domain.exchanges import EXCHANGES as EXCHANGES
from zvt_crypto.domain.exchanges import check_exchange as check_exchange
from zvt_crypto.domain.money import decimals_of
from zvt_crypto.domain.time import NS_PER_DAY, to_datetime

# A name that comes back sooner is the same listing: exchanges halt for days, and answer with half a list now and then.
RELISTED_AFTER_NS = 7 * NS_PER_DAY


class TradingStatus(enum.StrEnum):
    """What may be done with an instrument. Every venue's own codes map here by a table in its room."""

    PENDING = "pending"  # announced, not yet trading
    ACTIVE = "active"
    CANCEL_ONLY = "cancel_only"
    SUSPENDED = "suspended"  # halted or in a break; expected back
    SETTLING = "settling"  # a dated contract being delivered
    DELISTED = "delisted"
    UNKNOWN = "unknown"  # a code that our table does not hold: reported as drift


class TradableEntity(msgspec.Struct, frozen=True, kw_only=True):
    """What has an id on an exchange. Times are int ns UTC; None where nobody told."""

    id: str
    exchange: str
    listed_ns: int | None = None
    delisted_ns: int | None = None


class CryptoAsset(TradableEntity, frozen=True, kw_only=True, tag="asset", tag_field="kind"):
    """A currency on an exchange. `market_cap` (USD) and `max_supply` (units) are the newest dated facts, or None."""

    symbol: str
    full_name: str | None = None
    market_cap: Decimal | None = None
    max_supply: Decimal | None = None


class CryptoInstrument(TradableEntity, frozen=True, kw_only=True):
    """The fields that pairs, perpetuals and dated contracts share. `tick` and `lot` are the steps of price and quantity."""

    native_symbol: str
    base_asset: str
    quote_asset: str
    status: TradingStatus = TradingStatus.ACTIVE
    tick: Decimal | None = None
    lot: Decimal | None = None
    min_trade_amount: Decimal | None = None  # smallest quantity, base (contracts where there is a contract size)
    min_notional: Decimal | None = None  # smallest price x quantity, quote

    @property
    def price_precision(self) -> int | None:
        """Decimals of the tick."""
        return decimals_of(self.tick)

    @property
    def quantity_precision(self) -> int | None:
        """Decimals of the lot."""
        return decimals_of(self.lot)


class CryptoPair(CryptoInstrument, frozen=True, kw_only=True, tag="pair", tag_field="kind"):
    """A spot pair."""


class CryptoPerp(CryptoInstrument, frozen=True, kw_only=True, tag="perp", tag_field="kind"):
    """A perpetual. `contract_size` is the base (linear) or quote (inverse) amount of one contract; `funding_rate` is the
    newest known rate, a fraction, or None: its history is a time series of its own."""

    underlying_asset: str
    settlement_currency: str
    contract_size: Decimal = Decimal(1)
    funding_rate: Decimal | None = None

    @property
    def is_inverse(self) -> bool:
        """Whether it settles in its base."""
        return self.settlement_currency == self.base_asset and self.settlement_currency != self.quote_asset


class CryptoFuture(CryptoInstrument, frozen=True, kw_only=True, tag="future", tag_field="kind"):
    """A dated contract, which ends at `expiry_ns`."""

    underlying_asset: str
    settlement_currency: str
    expiry_ns: int
    contract_size: Decimal = Decimal(1)

    @property
    def is_inverse(self) -> bool:
        """Whether it settles in its base."""
        return self.settlement_currency == self.base_asset and self.settlement_currency != self.quote_asset


Instrument = CryptoPair | CryptoPerp | CryptoFuture
Kind = Literal["pair", "perp", "future"]
KINDS: dict[type, Kind] = {CryptoPair: "pair", CryptoPerp: "perp", CryptoFuture: "future"}
# A bare name such as BTCUSDT means the first of these that an exchange lists.
PRECEDENCE: tuple[Kind, ...] = ("pair", "perp", "future")


def kind_of(instrument: Instrument) -> Kind:
    """`pair`, `perp` or `future`."""
    return KINDS[type(instrument)]


def asset_id(exchange: str, symbol: str) -> str:
    """`crypto_binance_btc`."""
    return f"crypto_{exchange}_{symbol.lower()}"


def pair_id(exchange: str, base: str, quote: str) -> str:
    """`cryptopair_binance_btcusdt`."""
    return f"cryptopair_{exchange}_{base.lower()}{quote.lower()}"


def perp_id(exchange: str, base: str, quote: str) -> str:
    """`cryptoperp_bybit_btcusdt`."""
    return f"cryptoperp_{exchange}_{base.lower()}{quote.lower()}"


def future_id(exchange: str, base: str, quote: str, expiry_ns: int) -> str:
    """`cryptofuture_okx_btcusdt_261225`."""
    return f"cryptofuture_{exchange}_{base.lower()}{quote.lower()}_{to_datetime(expiry_ns):%y%m%d}"


def natural_id(instrument: Instrument) -> str:
    """The id by the rule, before collisions are looked at."""
    exchange, base, quote = instrument.exchange, instrument.base_asset, instrument.quote_asset
    match instrument:
        case CryptoPair():
            return pair_id(exchange, base, quote)
        case CryptoPerp():
            return perp_id(exchange, base, quote)
        case CryptoFuture():
            return future_id(exchange, base, quote, instrument.expiry_ns)


def is_same_listing(before: Instrument, listing: Instrument, now_ns: int | None, relisted_after_ns: int = RELISTED_AFTER_NS) -> bool:
    """Whether what is listed now is what was known by that name: the same parts, and not listed anew after a delisting.

    A delisted one lives again with the same listing time, or, where that is not told by both, if it was gone for at most
    `relisted_after_ns`. `now_ns` None: nobody asks when.
    """
    if _parts(before) != _parts(listing):
        return False
    if before.status is not TradingStatus.DELISTED or listing.status is TradingStatus.DELISTED or now_ns is None:
        return True
    if before.listed_ns is not None and listing.listed_ns is not None:
        return before.listed_ns == listing.listed_ns
    return before.delisted_ns is None or now_ns - before.delisted_ns <= relisted_after_ns


def _parts(instrument: Instrument) -> tuple[object, ...]:
    contract = () if isinstance(instrument, CryptoPair) else (instrument.underlying_asset, instrument.settlement_currency)
    return natural_id(instrument), instrument.base_asset, instrument.quote_asset, *contract


def assign_ids(
    listings: Iterable[Instrument], known: Instruments, now_ns: int | None = None, relisted_after_ns: int = RELISTED_AFTER_NS
) -> list[Instrument]:
    """The listings with ids that never change and never collide.

    A listing that is already known (same exchange, kind and native symbol, and `is_same_listing`) keeps its id. A new one gets its
    natural id, or, where an earlier one holds it (A+BC = AB+C, a relisted name), `<natural id>_<native symbol>`; should even that be
    taken, a counter follows. The order of `listings` decides among new ones, so pass them in the venue's own order.
    """
    taken = {i.id for i in known}
    made: list[Instrument] = []
    for listing in listings:
        before = known.find_native(listing.exchange, kind_of(listing), listing.native_symbol)
        if before is not None and is_same_listing(before, listing, now_ns, relisted_after_ns):
            made.append(msgspec.structs.replace(listing, id=before.id))
            continue
        name = natural_id(listing)
        if name in taken:
            name = stem = f"{name}_{listing.native_symbol.lower()}"
            count = 2
            while name in taken:
                name, count = f"{stem}_{count}", count + 1
        taken.add(name)
        made.append(msgspec.structs.replace(listing, id=name))
    return made


def short_symbol(instrument: Instrument) -> str:
    """`btcusdt`: base and quote, lower case; of dated contracts with the date, `btcusdt_261225`, and with whatever else their id says."""
    if isinstance(instrument, CryptoFuture):
        return (instrument.id or natural_id(instrument)).removeprefix(f"cryptofuture_{instrument.exchange}_")
    return f"{instrument.base_asset}{instrument.quote_asset}".lower()


def ccxt_symbol(instrument: Instrument) -> str:
    """`BTC/USDT`, `BTC/USDT:USDT`, `BTC/USDT:USDT-261225`."""
    pair = f"{instrument.base_asset}/{instrument.quote_asset}"
    match instrument:
        case CryptoPair():
            return pair
        case CryptoPerp():
            return f"{pair}:{instrument.settlement_currency}"
        case CryptoFuture():
            return f"{pair}:{instrument.settlement_currency}-{to_datetime(instrument.expiry_ns):%y%m%d}"


class Instruments:
    """A read-only table of instruments, found by every name that users write.

    `resolve` takes an entity id, a ccxt symbol, a dash symbol (`BTC-USDT`), a short one (`btcusdt`) or the venue's native one.
    All but the entity id may need an exchange. A name that fits a pair and a perpetual means the pair.
    """

    def __init__(self, instruments: Iterable[Instrument] = ()) -> None:
        self._by_id: dict[str, Instrument] = {}
        self._by_native: dict[tuple[str, Kind, str], Instrument] = {}
        self._by_name: dict[tuple[str, str], list[Instrument]] = {}
        self._exchanges: dict[str, None] = dict.fromkeys(EXCHANGES)
        for instrument in instruments:
            self._add(instrument)

    def _add(self, instrument: Instrument) -> None:
        if instrument.id in self._by_id:
            raise BadInput(f"two instruments have the id {shown(instrument.id)}")
        self._by_id[instrument.id] = instrument
        self._exchanges[instrument.exchange] = None
        native = (instrument.exchange, kind_of(instrument), instrument.native_symbol)
        held = self._by_native.get(native)
        if held is None or held.status is TradingStatus.DELISTED:  # a relisted symbol belongs to the living
            self._by_native[native] = instrument
        for name in _names(instrument):
            self._by_name.setdefault((instrument.exchange, name), []).append(instrument)

    def __iter__(self) -> Iterator[Instrument]:
        return iter(self._by_id.values())

    def __len__(self) -> int:
        return len(self._by_id)

    def __contains__(self, entity_id: object) -> bool:
        return entity_id in self._by_id

    def get(self, entity_id: str) -> Instrument | None:
        """By entity id alone."""
        return self._by_id.get(entity_id)

    def find_native(self, exchange: str, kind: Kind, native_symbol: str) -> Instrument | None:
        """By the venue's own symbol; the living one where a symbol was listed twice."""
        return self._by_native.get((exchange, kind, native_symbol))

    def natives(self, exchange: str, kind: Kind) -> Mapping[str, str]:
        """Native symbol → entity id: what a parser needs to name its events."""
        return {native: i.id for (venue, of, native), i in self._by_native.items() if venue == exchange and of == kind}

    def of_exchange(self, exchange: str) -> list[Instrument]:
        """All instruments of an exchange, in the table's order."""
        return [i for i in self._by_id.values() if i.exchange == exchange]

    def resolve(self, symbol: str, exchange: str | None = None, kind: Kind | None = None) -> Instrument:
        """The instrument of a name. Raises UnknownExchange, UnknownSymbol (with near names) or AmbiguousSymbol."""
        if not isinstance(symbol, str):
            raise UnknownSymbol(symbol)
        found = self._by_id.get(symbol) or self._by_id.get(symbol.lower())
        if found is not None:
            if exchange is not None and found.exchange != check_exchange(exchange):
                raise UnknownSymbol(symbol)
            return found
        venues = tuple(self._exchanges) if exchange is None else (check_exchange(exchange),)
        fits: list[Instrument] = []
        for venue in venues:
            named = self._by_name.get((venue, _fold(symbol)), [])
            fits.extend(i for i in named if kind is None or kind_of(i) == kind)
        best = _preferred(fits, _fold(symbol))
        if not best:
            raise UnknownSymbol(symbol, self._near(symbol, venues))
        if len(best) > 1:
            raise AmbiguousSymbol(symbol, [i.id for i in best])
        return best[0]

    def _near(self, symbol: str, venues: Iterable[str]) -> list[str]:
        if not symbol or len(symbol) > 64:
            return []
        wanted = tuple(venues)
        names = {name: i.id for (venue, name), found in self._by_name.items() if venue in wanted for i in found[:1]}
        close = difflib.get_close_matches(_fold(symbol), list(names), n=3, cutoff=0.75)
        if not close:
            close = difflib.get_close_matches(symbol.lower(), list(self._by_id), n=3, cutoff=0.85)
        return list(dict.fromkeys(names.get(name, name) for name in close))

    @property
    def symbol_mappings(self) -> Mapping[str, Mapping[str, str]]:
        """`SYMBOL_MAPPINGS[exchange][native]` → `btcusdt`: a read-only view. Where a symbol names a pair and a perpetual, the pair's.
        A dated contract has a name of its own, as in `short_symbol`."""
        made: dict[str, dict[str, str]] = {exchange: {} for exchange in self._exchanges}
        for kind in reversed(PRECEDENCE):
            for (exchange, of, native), instrument in self._by_native.items():
                if of == kind:
                    made.setdefault(exchange, {})[native] = short_symbol(instrument)
        return MappingProxyType({exchange: MappingProxyType(names) for exchange, names in made.items()})


def _fold(symbol: str) -> str:
    return symbol.lower()


def _names(instrument: Instrument) -> set[str]:
    base, quote = instrument.base_asset, instrument.quote_asset
    names = {instrument.native_symbol, ccxt_symbol(instrument)}
    if isinstance(instrument, CryptoFuture):
        names.add(short_symbol(instrument))
    else:
        names |= {f"{base}{quote}", f"{base}/{quote}", f"{base}-{quote}"}
    return {_fold(name) for name in names}


def _preferred(fits: list[Instrument], name: str) -> list[Instrument]:
    """Of several that answer to a name: the living before the delisted, pairs before perpetuals before dated ones, and whose own
    native symbol it is before those that are merely also called so: a new listing takes no name away."""
    living = [i for i in fits if i.status is not TradingStatus.DELISTED] or fits
    for kind in PRECEDENCE:
        of_kind = [i for i in living if kind_of(i) == kind]
        if of_kind:
            return [i for i in of_kind if _fold(i.native_symbol) == name] or of_kind
    return []
