"""A dialect of Bybit and a clock in hand."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

from emulator_kit import START_NS

from zvt_crypto.emulator.bybit.dialect import BybitDialect
from zvt_crypto.emulator.bybit.sessions import Session
from zvt_crypto.emulator.market import DEFAULT_SYMBOLS, MarketWorld

FRAMES = Path(__file__).resolve().parent.parent / "fixtures" / "bybit"
START_MS = START_NS // 1_000_000


class BybitDesk:
    """What a client would send and see, without a carrier."""

    def __init__(self, dialect: BybitDialect, now_ns: int = START_NS) -> None:
        self.dialect = dialect
        self.world: Any = dialect.world
        self.now_ns = now_ns

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

    def wait(self, seconds: float, *, step: float | None = None) -> None:
        """Time passes, at once or in steps, as a carrier would poll."""
        end_ns = self.now_ns + int(seconds * 1e9)
        while step is not None and self.now_ns + int(step * 1e9) < end_ns:
            self.now_ns += int(step * 1e9)
            self.dialect.poll(self.now_ns)
        self.now_ns = end_ns
        self.dialect.poll(self.now_ns)

    def read(self, session: Session) -> list[Any]:
        frames = [json.loads(frame) for frame in session.outbox]
        session.outbox.clear()
        return frames


def bybit_desk(seed: int = 1, events_per_s: float = 2.0, history_days: int = 3, symbols: Any = DEFAULT_SYMBOLS) -> BybitDesk:
    world = MarketWorld(seed, symbols, start_ns=START_NS, events_per_s=events_per_s, history_days=history_days)
    return BybitDesk(BybitDialect(world))
