"""What a market lists: instruments come, go, and get a finer price step. A world has one; a script's plan is tried on a copy."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from itertools import islice
from typing import get_args

import msgspec

from zvt_crypto.domain.errors import BadInput, shown
from zvt_crypto.emulator.model import Listing, Market

_NAMED_MOST = 20  # symbols that an error names
_FINER = (2, 5, 10)


class Listings:
    """Listings by market and symbol. Raises BadInput for what cannot be, and then nothing has changed.

    `called`: the name that an exchange gives a listing, where that is another than the symbol and two may not share one.
    """

    def __init__(self, given: Mapping[Market, Mapping[str, Listing]] | None = None, called: Callable[[Listing], str] | None = None) -> None:
        self._by_market: dict[Market, dict[str, Listing]] = {market: dict((given or {}).get(market, {})) for market in get_args(Market)}
        self._called = called
        self._symbols: dict[tuple[Market, str], str] = {}  # by the exchange's names
        if called is not None:
            for market, listed in self._by_market.items():
                self._symbols |= {(market, called(listing)): symbol for symbol, listing in listed.items()}

    def of(self, market: Market) -> dict[str, Listing]:
        """By symbol, as they are now and will be."""
        return self._by_market[market]

    def get(self, market: Market, symbol: str) -> Listing:
        """The listing of a symbol."""
        listed = self._by_market[market]
        if symbol not in listed:
            rest = len(listed) - _NAMED_MOST
            names = ", ".join(islice(listed, _NAMED_MOST)) or "nothing"
            raise BadInput(f"{market} has no {shown(symbol)}; it has {names}{f' and {rest} more' if rest > 0 else ''}")
        return listed[symbol]

    def add(self, listing: Listing) -> None:
        """One more instrument."""
        if listing.symbol in self._by_market[listing.market]:
            raise BadInput(f"symbol {shown(listing.symbol)} is listed twice on {listing.market}")
        if self._called is not None:
            holder = self._symbols.setdefault((listing.market, self._called(listing)), listing.symbol)
            if holder != listing.symbol:
                raise BadInput(f"symbol {shown(listing.symbol)} would be {self._called(listing)}, which is the name of {holder} there")
        self._by_market[listing.market][listing.symbol] = listing

    def remove(self, market: Market, symbol: str) -> None:
        """An instrument goes."""
        listing = self.get(market, symbol)
        del self._by_market[market][symbol]
        if self._called is not None and self._symbols.get((market, self._called(listing))) == symbol:
            del self._symbols[market, self._called(listing)]

    def refine(self, market: Market, symbol: str, by: float) -> None:
        """A price step that is 2, 5 or 10 times finer."""
        listing = self.get(market, symbol)
        step = int(by)
        if by not in _FINER or listing.tick_e8 % step:
            raise BadInput(f"tick {listing.tick_e8 / 1e8:g} of {symbol} cannot be {by:g} times finer: 2, 5 and 10 times are, down to 1e-08")
        self._by_market[market][symbol] = msgspec.structs.replace(listing, tick_e8=listing.tick_e8 // step)
