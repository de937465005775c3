"""Faults that change what a market lists or has told: read from a script, tried on its plan, and then done to the world."""

from __future__ import annotations

import re
from collections.abc import Callable, Mapping, Sequence
from heapq import heapify, heappop, heappush
from typing import Any, NamedTuple, cast, get_args

from zvt_crypto.domain.errors import BadInput, shown
from zvt_crypto.emulator.listings import Listings
from zvt_crypto.emulator.market import MarketWorld, Symbol, listing_of, symbol_for
from zvt_crypto.emulator.model import Listing, Market

CHANGES = ("revise_kline", "list", "delist", "finer_tick")
TRIED_MOST = 20_000  # changes of a plan that repeats for ever: half an hour of one a tenth of a second
_CODE = re.compile(r"[A-Z0-9]+")


class Change(NamedTuple):
    """One change. `made` is what a `list` lists."""

    kind: str
    market: Market
    symbol: str
    made: Symbol | None = None
    by: float = 1.0

    def do(self, world: MarketWorld, at_ns: int) -> None:
        """Do it. Raises BadInput where it cannot be done."""
        if self.made is not None:
            world.list_symbol(self.made, at_ns)
        elif self.kind == "delist":
            world.delist(self.market, self.symbol)
        elif self.kind == "finer_tick":
            world.refine_tick(self.market, self.symbol, self.by)
        else:
            world.revise_minute(self.market, self.symbol)

    def try_on(self, plan: Listings) -> None:
        """What it would do to a listing. Raises BadInput where it could not be done."""
        if self.made is not None:
            plan.add(listing_of(self.made, 0))
        elif self.kind == "delist":
            plan.remove(self.market, self.symbol)
        elif self.kind == "finer_tick":
            plan.refine(self.market, self.symbol, self.by)
        else:
            plan.get(self.market, self.symbol)


class Timed(NamedTuple):
    """A change at its time, and again after every so often; `where` names it in an error."""

    where: str
    at_ns: int
    every_ns: int | None
    change: Change


def change_of(kind: str, keys: Mapping[str, Any]) -> Change:
    """The change that a script's entry asks for. Raises BadInput, naming the value."""
    market = cast("Market", keys.get("market", "spot"))
    if market not in get_args(Market):
        raise BadInput(f"unknown market {shown(market)}: known are {', '.join(get_args(Market))}")
    is_inverse = market == "coinm"
    if kind == "list":
        made = symbol_for(market, _code(keys, "base", "NEW"), _code(keys, "quote", "USD" if is_inverse else "USDT"))
        return Change(kind, market, made.name, made)
    symbol = _code(keys, "symbol", "BTCUSD" if is_inverse else "BTCUSDT")
    return Change(kind, market, symbol, by=keys.get("factor", 10))


def try_plan(changes: Sequence[Timed], world: MarketWorld, called: Callable[[Listing], str]) -> None:
    """Let the changes happen, in their order, to a copy of what is listed. Raises BadInput for the first that could not be done.

    `called`: what the exchange calls a listing; no two may have one name there.

    What repeats is tried as often as it comes within the plan's first `TRIED_MOST` changes, and each at least once.
    """
    plan = Listings({market: world.listings(market) for market in get_args(Market)}, called)
    agenda = [(one.at_ns, number, 1) for number, one in enumerate(changes)]
    heapify(agenda)
    untried, tried = len(changes), 0
    while agenda and (tried < TRIED_MOST or untried):
        at_ns, number, turn = heappop(agenda)
        where, _, every_ns, change = changes[number]
        try:
            change.try_on(plan)
        except BadInput as error:
            raise BadInput(f"{where}{f', time {turn}' if turn > 1 else ''}: {error}") from None
        untried -= turn == 1
        tried += 1
        if every_ns is not None and tried < TRIED_MOST:
            heappush(agenda, (at_ns + every_ns, number, turn + 1))


def _code(keys: Mapping[str, Any], name: str, usual: str) -> str:
    code: str = keys.get(name, usual).upper()
    if not _CODE.fullmatch(code):
        raise BadInput(f"{name} {shown(code)} is not made of letters and digits")
    return code
