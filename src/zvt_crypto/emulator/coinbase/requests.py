"""What clients say on the two WebSocket APIs, and what they are answered. Pure."""

from __future__ import annotations

from typing import Any

import msgspec

from zvt_crypto.emulator.coinbase import exchange_feeds, feeds, wire
from zvt_crypto.emulator.coinbase.names import Product, find, products
from zvt_crypto.emulator.coinbase.sessions import Session
from zvt_crypto.emulator.coinbase.switchboard import Line, Switchboard
from zvt_crypto.emulator.model import World

HEARTBEATS, STATUS = "heartbeats", "status"
_SIGNED = ("user", "futures_balance_summary")
_EXCHANGE_SIGNED = ("level2", "level3", "full", "user", "balance")


class Refusal(Exception):
    """A message of a client that is answered with an error."""

    def __init__(self, text: str, reason: str = "") -> None:
        super().__init__(text)
        self.text, self.reason = text, reason


def error(text: str, reason: str = "") -> bytes:
    """An error: it has no channel and no number."""
    return msgspec.json.encode({"type": "error", "message": text} | ({"reason": reason} if reason else {}))


def obey(world: World, board: Switchboard, session: Session, payload: bytes, now_ns: int) -> list[bytes]:
    """A message of a client; what it is answered."""
    try:
        asked = _read(payload)
        if session.api == "advanced":
            return _advanced(world, board, session, asked, now_ns)
        return _exchange(world, board, session, asked, now_ns)
    except Refusal as refusal:
        return [error(refusal.text, refusal.reason)]


def _read(payload: bytes) -> dict[str, Any]:
    try:
        asked = msgspec.json.decode(payload)
    except (msgspec.DecodeError, UnicodeDecodeError, RecursionError):
        raise Refusal("Malformed JSON") from None
    if not isinstance(asked, dict) or asked.get("type") not in ("subscribe", "unsubscribe"):
        raise Refusal("Type has to be either subscribe or unsubscribe")
    return asked


def _ids(asked: object) -> list[str]:
    if asked is None:
        return []
    if not isinstance(asked, list) or not all(isinstance(one, str) for one in asked):
        raise Refusal("product_ids must be a list of strings")
    return list(dict.fromkeys(asked))


# ── Advanced Trade: one channel a message ─────────────────────────────────────────────────────────────────────────────


def _advanced(world: World, board: Switchboard, session: Session, asked: dict[str, Any], now_ns: int) -> list[bytes]:
    channel, ids = asked.get("channel"), _ids(asked.get("product_ids"))
    if not isinstance(channel, str):
        raise Refusal("channel is required")
    if channel in _SIGNED:
        raise Refusal("authentication failure")
    if channel not in (HEARTBEATS, STATUS, *feeds.FEEDS):
        raise Refusal(f"channel {channel[:40]} is not supported")
    lines = [_line(world, board, channel, name) for name in ids] if channel in feeds.FEEDS else []
    if channel in feeds.FEEDS and not lines:
        raise Refusal("product_ids is required")
    wanted, told = asked["type"] == "subscribe", []
    held = session.subscriptions.setdefault(channel, {})
    names = ids if lines else [channel] if channel == HEARTBEATS else ids or [STATUS]
    for name in names:
        if wanted:
            held[name] = None
        else:
            held.pop(name, None)
    if not held:
        del session.subscriptions[channel]
    if wanted:
        session.welcome()
    if channel == HEARTBEATS:
        session.beat(now_ns, wanted=wanted)
    elif channel == STATUS and wanted:
        told = [session.message(STATUS, wire.status_event(_listed(world, ids)), now_ns)]
    for line in lines:
        if wanted:
            told += board.connect(session, line, now_ns)
        elif not any(line.product.book_id == _book_id(world, name) for name in held):
            board.disconnect(session, line)
    return [*told, session.message("subscriptions", _subscriptions(session), now_ns)]


def _line(world: World, board: Switchboard, channel: str, name: str) -> Line:
    product = find(world, name)
    if product is None:
        raise Refusal(f"{name[:40]} is not a valid product")
    return board.line("advanced", channel, product)


def _book_id(world: World, name: str) -> str:
    product = find(world, name)
    return "" if product is None else product.book_id


def _listed(world: World, ids: list[str]) -> list[Product]:
    listed = [*products(world, "SPOT").values(), *products(world, "FUTURE").values()]
    return [one for one in listed if not ids or one.id in ids]


def _subscriptions(session: Session) -> str:
    """Everything that is subscribed now."""
    held = {channel: list(session.subscriptions[channel]) for channel in sorted(session.subscriptions)}
    return msgspec.json.encode({"subscriptions": held}).decode()


# ── Exchange: several channels a message, each with products of its own or those of the message ───────────────────────


def _exchange(world: World, board: Switchboard, session: Session, asked: dict[str, Any], now_ns: int) -> list[bytes]:
    wanted = asked["type"] == "subscribe"
    failed = f"Failed to {asked['type']}"
    channels, shared = asked.get("channels"), _ids(asked.get("product_ids"))
    if not isinstance(channels, list) or not channels:
        raise Refusal(failed, "No channels provided")
    lines: list[tuple[str, Product, Line]] = []
    names = [one.get("name") if isinstance(one, dict) else one for one in channels]
    for name, one in zip(names, channels, strict=True):
        if not isinstance(name, str) or name not in ("heartbeat", STATUS, *_EXCHANGE_SIGNED, *exchange_feeds.FEEDS):
            raise Refusal(failed, f"{str(name)[:40]} is not a valid channel")
        if name in _EXCHANGE_SIGNED:
            raise Refusal(failed, f"{name} channel requires authentication")
        ids = shared + (_ids(one.get("product_ids")) if isinstance(one, dict) else [])
        lines += [(name, *_pair(world, board, name, product_id, failed)) for product_id in ids]
        if not ids and name != STATUS:
            raise Refusal(failed, "No products provided")
    told: list[bytes] = []
    for name, product, line in lines:
        held = session.subscriptions.setdefault(name, {})
        if wanted:
            held[product.id] = None
        else:
            held.pop(product.id, None)
        if wanted:
            told += board.connect(session, line, now_ns)
        else:
            board.disconnect(session, line)
    session.subscriptions = {name: held for name, held in session.subscriptions.items() if held}
    session.beat(now_ns, wanted="heartbeat" in session.subscriptions)
    if wanted:
        session.welcome()
    if STATUS in names and wanted:
        told.append(f'{{"type":"status","products":{_status(world)},"currencies":[]}}'.encode())
    rows = [{"name": name, "product_ids": list(held), "account_ids": None} for name, held in session.subscriptions.items()]
    return [msgspec.json.encode({"type": "subscriptions", "channels": rows}), *told]


def _pair(world: World, board: Switchboard, channel: str, name: str, failed: str) -> tuple[Product, Line]:
    product = products(world).get(name)
    if product is None or product.book_id != name:
        raise Refusal(failed, f"{name[:40]} is not a valid product")
    return product, board.line("exchange", channel, product)


def _status(world: World) -> str:
    return msgspec.json.encode(
        [
            {"id": one.id, "base_currency": one.base, "quote_currency": one.quote, "status": "online", "status_message": ""}
            for one in products(world).values()
            if one.id == one.book_id
        ]
    ).decode()
