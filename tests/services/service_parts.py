"""What service tests share: events by number, an observer that remembers, a connector that answers from lists."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable
from decimal import Decimal
from uuid import NAMESPACE_OID, uuid5

import msgspec

from zvt_crypto.domain.errors import Unsupported
from zvt_crypto.domain.instrument import CryptoPair, CryptoPerp, Instruments
from zvt_crypto.domain.market import Funding, Kline, MarkPrice, Trade, TradeContinuity
from zvt_crypto.domain.time import NS_PER_MINUTE, Interval, next_ns, parse_interval, parse_time
from zvt_crypto.ports import SpoolBreak

BTC = "cryptopair_binance_btcusdt"
PERP = "cryptoperp_binance_btcusdt"
START = parse_time("2024-08-08T00:00:00Z")
PAIR_OF = CryptoPair(
    id=BTC, exchange="binance", native_symbol="BTCUSDT", base_asset="BTC", quote_asset="USDT", tick=Decimal("0.01"), lot=Decimal("0.00001")
)
PERP_OF = CryptoPerp(
    id=PERP,
    exchange="binance",
    native_symbol="BTCUSDT",
    base_asset="BTC",
    quote_asset="USDT",
    underlying_asset="BTC",
    settlement_currency="USDT",
)


def trade(number: int, at_ns: int | None = None, instrument: str = BTC, stream: str = "trade") -> Trade:
    """Trade `number`, a second after the one before."""
    return Trade(
        instrument, stream, str(number), 100.0 + number % 7, 0.5, "buy", START + number * 1_000_000_000 if at_ns is None else at_ns
    )  # type: ignore[arg-type]


def unordered(number: int, at_ns: int | None = None) -> Trade:
    """As `trade`, its id a UUID."""
    made = trade(number, at_ns)
    return msgspec.structs.replace(made, trade_id=str(uuid5(NAMESPACE_OID, made.trade_id)))


def kline(minute: int, *, final: bool = True, close: float = 1.5, source: str = "venue", interval: Interval = Interval.MIN_1) -> Kline:
    return Kline(BTC, interval, START + minute * NS_PER_MINUTE, 1.0, 2.0, 0.5, close, 10.0, 15.0, 3, final, source)  # type: ignore[arg-type]


class Notes:
    """ports.Observer that remembers."""

    def __init__(self) -> None:
        self.counts: Counter[str] = Counter()
        self.notes: list[tuple[str, str, dict[str, object]]] = []

    def count(self, name: str, amount: int = 1, **labels: str) -> None:
        self.counts[name] += amount

    def gauge(self, name: str, value: float, **labels: str) -> None:
        return

    def note(self, level: str, event: str, **fields: object) -> None:
        self.notes.append((level, event, fields))


class Spool:
    """ports.Spool in memory, with room for so many events."""

    def __init__(self, room: int) -> None:
        self.room = room
        self.breaks: list[SpoolBreak] = []
        self.events: list = []  # type: ignore[type-arg]

    def append(self, events) -> int:  # type: ignore[no-untyped-def]
        kept = list(events)[: max(0, self.room - len(self.events))]
        self.events += kept
        return len(kept)

    def take(self, most: int) -> list:  # type: ignore[type-arg]
        return self.events[:most]

    def drop(self, count: int) -> None:
        del self.events[:count]

    def __len__(self) -> int:
        return len(self.events)

    def close(self) -> None:
        return


class ListConnector:
    """The REST side of a connector, from lists. `fails`: errors that the next calls raise."""

    exchange = "binance"

    def __init__(
        self,
        *,
        now_ns: int,
        klines: list[Kline] | None = None,
        trades: list[Trade] | None = None,
        continuity: TradeContinuity = "dense",
        newest: int | None = None,
    ) -> None:
        self.continuity: TradeContinuity = continuity
        self.newest = newest  # how many trades the venue still gives; None: all
        self.instruments = Instruments([PAIR_OF, PERP_OF])
        self.now_ns = now_ns
        self.klines = klines or []
        self.trades = trades or []
        self.funding: list[Funding] = []
        self.marks: list[MarkPrice] = []
        self.fails: list[Exception] = []
        self.calls: list[tuple[object, ...]] = []
        self.hook: Callable[[], None] = lambda: None

    def _called(self, *what: object) -> None:
        self.calls.append(what)
        self.hook()
        if self.fails:
            raise self.fails.pop(0)

    async def fetch_server_time(self) -> int:
        return self.now_ns

    async def fetch_kdata(self, symbol, interval, since=None, until=None, limit=None):  # type: ignore[no-untyped-def]
        self._called("klines", since, until)
        length = parse_interval(interval)
        rows = [k for k in self.klines if k.interval == length and (since or 0) <= k.open_ns and (until is None or k.open_ns < until)]
        return rows[:limit]

    async def fetch_trades(self, symbol, since=None, *, until=None, stream=None, from_id=None, to_id=None, limit=None):  # type: ignore[no-untyped-def]
        self._called("trades", since, from_id, to_id)
        if self.continuity == "opaque" and (from_id, to_id) != (None, None):
            raise Unsupported(f"trade ids of {symbol} have no order")
        rows = [
            t
            for t in self.trades[-self.newest if self.newest else None :]
            if t.instrument == symbol and (since is None or t.event_ns >= since) and (until is None or t.event_ns < until)
        ]
        rows = [t for t in rows if (from_id is None or int(t.trade_id) >= from_id) and (to_id is None or int(t.trade_id) <= to_id)]
        if limit is None or since is not None or from_id is not None:
            return rows[:limit]
        return rows[max(0, len(rows) - limit) :]

    async def fetch_funding(self, symbol, since=None, until=None):  # type: ignore[no-untyped-def]
        self._called("funding", since, until)
        return self.funding

    async def fetch_mark_kdata(self, symbol, since=None, until=None):  # type: ignore[no-untyped-def]
        self._called("mark", since, until)
        return [m for m in self.marks if since <= m.event_ns < until]

    def trade_stream(self, symbol: str) -> str:
        return "agg" if symbol == PERP else "trade"

    def trade_continuity(self, symbol: str, stream: str | None = None) -> TradeContinuity:
        return self.continuity


def closes_at(kline_of: Kline) -> int:
    return next_ns(kline_of.interval, kline_of.open_ns)
