"""OKX's names: instruments (`BTC-USDT`, `BTC-USDT-SWAP`) and bars (`1H`, `1Dutc`, and `1D`, whose day opens at 16:00 UTC)."""

from __future__ import annotations

import zlib
from typing import Literal, NamedTuple

from zvt_crypto.domain.time import NS_PER_S
from zvt_crypto.emulator.bars import floor_open, join, next_open
from zvt_crypto.emulator.model import E8, Bar, Listing, Market, World, text_e8, text_e16

InstType = Literal["SPOT", "SWAP", "FUTURES"]
MARKETS: dict[str, tuple[Market, ...]] = {"SPOT": ("spot",), "SWAP": ("usdm", "coinm"), "FUTURES": ("usdm",)}
_LOTS_PER_CONTRACT = 10  # a BTC contract is 0.01 BTC where the lot is 0.001, and sizes go in tenths of it
_HOUR_NS = 3600 * NS_PER_S
_EAST_NS = 8 * _HOUR_NS  # bars of six hours and more follow the day of UTC+8 unless they say utc


class Instrument(NamedTuple):
    """A listing under its name at OKX. `contract_e8`: base coin in a contract; 0 on spot, and where sizes are as on the wire: of inverse
    contracts, and in recordings that do not tell how large a contract is."""

    listing: Listing
    id: str
    kind: InstType
    contract_e8: int

    @property
    def code(self) -> int:
        """`instIdCode`."""
        return zlib.crc32(self.id.encode()) % 1_000_000

    @property
    def family(self) -> str:
        """The index that it follows."""
        return f"{self.listing.base}-{self.listing.quote}"

    def price(self, value: int) -> str:
        """A price."""
        return plain(text_e8(value))

    def amounts(self, bar: Bar) -> tuple[str, str, str]:
        """What traded in a bar: as sizes are told, in base, in quote."""
        turnover = plain(text_e16(bar.turnover))
        if self.listing.contract_e8:
            return self.size(bar.size), turnover, plain(text_e8(bar.size * self.listing.contract_e8 // E8))
        return self.size(bar.size), plain(text_e8(bar.size)), turnover

    def size(self, value: int) -> str:
        """A size on the wire: base coin on spot, contracts of a swap."""
        return plain(text_e8(value * E8 // self.contract_e8 if self.contract_e8 else value))


def plain(text: str) -> str:
    """OKX writes no zeros at the end: 60000.10000000 → 60000.1."""
    return text.rstrip("0").rstrip(".") if "." in text else text


def instrument_of(listing: Listing) -> Instrument:
    """The listing as OKX names it; a recorded one has its name already."""
    if "-" in listing.symbol:
        kind: InstType = "SPOT" if listing.market == "spot" else "SWAP" if listing.symbol.endswith("-SWAP") else "FUTURES"
        return Instrument(listing, listing.symbol, kind, listing.unit_e8)
    if listing.market == "spot":
        return Instrument(listing, f"{listing.base}-{listing.quote}", "SPOT", 0)
    contract_e8 = 0 if listing.contract_e8 else listing.lot_e8 * _LOTS_PER_CONTRACT
    return Instrument(listing, f"{listing.base}-{listing.quote}-SWAP", "SWAP", contract_e8)


def instruments(world: World, kind: str) -> dict[str, Instrument]:
    """All instruments of a type by id; types that are not offered have none."""
    found = (listing for market in MARKETS.get(kind, ()) for listing in world.listings(market).values())
    return {one.id: one for one in map(instrument_of, found) if one.kind == kind}


def every_instrument(world: World) -> dict[str, Instrument]:
    """All instruments by id."""
    return instruments(world, "SPOT") | instruments(world, "SWAP") | instruments(world, "FUTURES")


class Bars(NamedTuple):
    """A bar size: the interval, and how far its calendar stands east of UTC."""

    interval: str
    east_ns: int

    def floor(self, at_ns: int) -> int:
        """The open of the bar that holds a time."""
        return floor_open(self.interval, at_ns + self.east_ns) - self.east_ns

    def next(self, open_ns: int) -> int:
        """The open after this one."""
        return next_open(self.interval, open_ns + self.east_ns) - self.east_ns


BARS: dict[str, Bars] = {
    **{name: Bars(name, 0) for name in ("1s", "1m", "3m", "5m", "15m", "30m")},
    **{f"{n}H": Bars(f"{n}h", 0) for n in (1, 2, 4)},
    **{f"{name}utc": Bars(name.replace("H", "h").replace("D", "d").replace("W", "w"), 0) for name in ("6H", "12H", "1D", "3D", "1W", "1M")},
    **{name: Bars(name.replace("H", "h").replace("D", "d").replace("W", "w"), _EAST_NS) for name in ("6H", "12H", "1D", "3D", "1W", "1M")},
}


def newest_bars(world: World, listing: Listing, bars: Bars, end_ns: int | None, limit: int) -> list[Bar]:
    """The newest `limit` bars that open before `end_ns`, oldest first, the open one included."""
    if bars.east_ns == 0:
        return world.bars(listing, bars.interval, None, None if end_ns is None else end_ns - 1, limit)
    newest = world.bars(listing, "1h", None, None if end_ns is None else bars.next(bars.floor(end_ns - 1)) - 1, 1)
    if not newest:
        return []
    opens = [bars.floor(newest[-1].open_ns)]
    while len(opens) < limit and opens[-1] > listing.listed_ns:
        opens.append(bars.floor(opens[-1] - 1))
    hours = world.bars(listing, "1h", opens[-1], newest[-1].open_ns, (newest[-1].open_ns - opens[-1]) // _HOUR_NS + 1)
    parts: dict[int, list[Bar]] = {}
    for hour in hours:
        parts.setdefault(bars.floor(hour.open_ns), []).append(hour)
    return [bar for bar in (join(open_ns, rows) for open_ns, rows in parts.items()) if bar is not None]


def widened(world: World, listing: Listing, bars: Bars, hour: Bar) -> Bar:
    """The bar east of UTC that holds an hour, up to and with that hour."""
    open_ns = bars.floor(hour.open_ns)
    past = world.bars(listing, "1h", open_ns, hour.open_ns - 1, 1_000) if open_ns < hour.open_ns else []
    bar = join(open_ns, [*past, hour])
    assert bar is not None, "the hour itself is there"
    return bar
