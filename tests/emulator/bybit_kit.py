"""A dialect of Bybit and a clock in hand."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

from emulator_kit import START_NS, ClockedDesk

from zvt_crypto.emulator.bybit.dialect import BybitDialect
from zvt_crypto.emulator.bybit.sessions import Session
from zvt_crypto.emulator.market import DEFAULT_SYMBOLS, MarketWorld

FRAMES = Path(__file__).resolve().parent.parent / "fixtures" / "bybit"
START_MS = START_NS // 1_000_000


class BybitDesk(ClockedDesk):
    """What a client would send and see, without a carrier."""

    def http(self, path: str, query: str = "", method: str = "GET") -> tuple[int, Any]:
        status, _, body = self.dialect.handle_http(method, path, query, {}, self.now_ns)
        return status, json.loads(body) if body[:1] == b"{" else body

    def get(self, path: str, query: str = "") -> Any:
        status, body = self.http(f"/v5/market/{path}", query)
        assert (status, body["retCode"], body["retMsg"]) == (200, 0, "OK"), body
        return body["result"]

    def refused(self, path: str, query: str = "") -> tuple[int, str]:
        status, body = self.http(f"/v5/market/{path}", query)
        assert status == 200
        return body["retCode"], body["retMsg"]

    def open(self, category: str = "spot") -> Session:
        return self.dialect.open(f"/v5/public/{category}", "", self.now_ns)

    def text(self, session: Session, text: str) -> list[Any]:
        return [json.loads(frame) for frame in self.dialect.on_text(session, text.encode(), self.now_ns)]

    def ask(self, session: Session, op: str, *topics: str, request_id: str | None = None) -> list[Any]:
        return self.text(session, json.dumps({"op": op, "args": list(topics)} | ({"req_id": request_id} if request_id else {})))


def bybit_desk(seed: int = 1, events_per_s: float = 2.0, history_days: int = 3, symbols: Any = DEFAULT_SYMBOLS) -> BybitDesk:
    world = MarketWorld(seed, symbols, start_ns=START_NS, events_per_s=events_per_s, history_days=history_days)
    return BybitDesk(BybitDialect(world))
