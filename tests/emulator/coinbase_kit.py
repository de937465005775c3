"""A dialect of Coinbase and a clock in hand."""

from __future__ import annotations

import json
from typing import Any

from emulator_kit import START_NS, ClockedDesk

from zvt_crypto.emulator.coinbase.dialect import CoinbaseDialect
from zvt_crypto.emulator.coinbase.sessions import Session
from zvt_crypto.emulator.market import DEFAULT_SYMBOLS, MarketWorld

ADVANCED = "/api/v3/brokerage/"
START_S = START_NS // 1_000_000_000


class CoinbaseDesk(ClockedDesk):
    """What a client would send and see, without a carrier."""

    def __init__(self, dialect: CoinbaseDialect, now_ns: int = START_NS) -> None:
        super().__init__(dialect, now_ns)
        dialect.poll(now_ns)

    def http(self, path: str, query: str = "", method: str = "GET") -> tuple[int, dict[str, str], Any]:
        status, headers, body = self.dialect.handle_http(method, path, query, {}, self.now_ns)
        return status, headers, json.loads(body) if body[:1] in b"{[" else body

    def get(self, path: str, query: str = "") -> Any:
        """Exchange's answer."""
        status, _, body = self.http(f"/{path}", query)
        assert status == 200, body
        return body

    def ask(self, path: str, query: str = "") -> Any:
        """Advanced's answer."""
        status, _, body = self.http(ADVANCED + path, query)
        assert status == 200, body
        return body

    def open(self, path: str = "/", host: str = "advanced-trade-ws.coinbase.com") -> Session:
        return self.dialect.open(path, "", self.now_ns, host)

    def text(self, session: Session, text: str) -> list[Any]:
        return [json.loads(frame) for frame in self.dialect.on_text(session, text.encode(), self.now_ns)]

    def say(self, session: Session, kind: str, channel: str, *ids: str) -> list[Any]:
        return self.text(session, json.dumps({"type": kind, "product_ids": list(ids), "channel": channel}))

    def tell(self, session: Session, kind: str, channels: list[Any], *ids: str) -> list[Any]:
        """On Exchange's feed."""
        return self.text(session, json.dumps({"type": kind, "product_ids": list(ids), "channels": channels}))


def coinbase_desk(seed: int = 1, events_per_s: float = 2.0, history_days: int = 3, symbols: Any = DEFAULT_SYMBOLS) -> CoinbaseDesk:
    world = MarketWorld(seed, symbols, start_ns=START_NS, events_per_s=events_per_s, history_days=history_days)
    return CoinbaseDesk(CoinbaseDialect(world))
