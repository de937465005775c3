"""A dialect of OKX and a clock in hand."""

from __future__ import annotations

import json
from typing import Any

from emulator_kit import START_NS, ClockedDesk

from zvt_crypto.emulator.market import DEFAULT_SYMBOLS, MarketWorld
from zvt_crypto.emulator.okx.dialect import OkxDialect
from zvt_crypto.emulator.okx.sessions import Session

START_MS = START_NS // 1_000_000
PUBLIC, BUSINESS = "/ws/v5/public", "/ws/v5/business"


class OkxDesk(ClockedDesk):
    """What a client would send and see, without a carrier."""

    def http(self, path: str, query: str = "", method: str = "GET") -> tuple[int, Any]:
        status, _, body = self.dialect.handle_http(method, f"/api/v5/{path}", query, {}, self.now_ns)
        return status, json.loads(body)

    def get(self, path: str, query: str = "") -> Any:
        status, body = self.http(path, query)
        assert (status, body["code"], body["msg"]) == (200, "0", ""), body
        return body["data"]

    def refused(self, path: str, query: str = "") -> tuple[int, str]:
        status, body = self.http(path, query)
        return status, body["code"]

    def open(self, path: str = PUBLIC) -> Session:
        return self.dialect.open(path, "", self.now_ns)

    def text(self, session: Session, text: str) -> list[Any]:
        frames = self.dialect.on_text(session, text.encode(), self.now_ns)
        return [json.loads(frame) if frame[:1] == b"{" else frame.decode() for frame in frames]

    def ask(self, session: Session, op: str, *args: tuple[str, str], request_id: str | None = None) -> list[Any]:
        named = [{"channel": channel, "instId": inst_id} for channel, inst_id in args]
        return self.text(session, json.dumps({"op": op, "args": named} | ({"id": request_id} if request_id else {})))

    def rows(self, session: Session, channel: str) -> list[Any]:
        return [row for frame in self.read(session) if frame["arg"]["channel"] == channel for row in frame["data"]]


def okx_desk(seed: int = 1, events_per_s: float = 2.0, history_days: int = 3, symbols: Any = DEFAULT_SYMBOLS, **more: Any) -> OkxDesk:
    return OkxDesk(OkxDialect(MarketWorld(seed, symbols, start_ns=START_NS, events_per_s=events_per_s, history_days=history_days), **more))
