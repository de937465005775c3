"""How Coinbase is spoken to on one connection (venues.inband.StreamManners): what is subscribed, and whether a message is missing.

Every message of a connection carries the next number, from 0 on, whatever it is about. One that is missing may have been about any
product: nothing of the connection can be trusted from there on, and only a new one brings new snapshots.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import msgspec

from zvt_crypto.domain.errors import Malformed
from zvt_crypto.ports import Subscription
from zvt_crypto.venues.coinbase import spec
from zvt_crypto.venues.coinbase.fields import frame_kind
from zvt_crypto.venues.coinbase.parse import FrameParser, sequence_of
from zvt_crypto.venues.coinbase.product import Product
from zvt_crypto.venues.inband import Message
from zvt_crypto.venues.parsed import Broken, Drift, Parsed


class CoinbaseManners:
    """`products`: product id, as frames name it, → product. `asked`: entity id → the product id to subscribe."""

    exchange = spec.EXCHANGE
    ping: bytes | None = None  # the heartbeats are theirs
    ping_s = 0.0
    messages_per_s = spec.MESSAGES_PER_S
    kind_of = staticmethod(frame_kind)

    def __init__(self, subscriptions: Sequence[Subscription], products: Mapping[str, Product], asked: Mapping[str, str]) -> None:
        self._wanted: dict[str, list[str]] = {}
        for subscription in subscriptions:
            channel, native = spec.CHANNELS[subscription.channel], asked[subscription.instrument]
            if native not in self._wanted.setdefault(channel, []):
                self._wanted[channel].append(native)
        self._products = products
        self._parser = FrameParser(
            products,
            {channel: frozenset(natives) for channel, natives in self._wanted.items()},
            tickers=_named(subscriptions, "ticker"),
            quotes=_named(subscriptions, "quote"),
        )
        self._followed = _named(subscriptions, "trade")
        self._next = 0
        self._is_broken = False

    def subscribe(self) -> list[Message]:
        """One message a channel, the books first, since they take longest. The heartbeats keep a quiet connection open."""
        everything = list(dict.fromkeys(native for natives in self._wanted.values() for native in natives))
        channels = sorted(self._wanted, key=lambda channel: channel != spec.CHANNELS["depth"])
        return [*(_subscribe(channel, self._wanted[channel]) for channel in channels), _subscribe(spec.HEARTBEATS, everything)]

    def renew(self, instrument: str) -> list[Message]:
        """Nothing: only a new connection brings a snapshot that is proved."""
        return []

    def parse(self, payload: bytes, recv_ns: int) -> Sequence[Parsed]:
        """What a frame holds; Broken where it shows that one is missing, and nothing any more after that. Raises Malformed."""
        if self._is_broken:
            return ()
        try:
            number, found = self._parser.read(payload, recv_ns)
        except Malformed:
            # It counts all the same: what cannot be read is not missing.
            verdict = self._follow(sequence_of(payload))
            if verdict:
                return verdict
            raise
        if number is not None and number != self._next:
            return self._follow(number)
        if number is not None:
            self._next = number + 1
        if found and type(found[-1]) is Broken:  # nothing follows it in a frame
            self._is_broken = True
        return found

    def doubted(self, payload: bytes) -> Sequence[str] | None:
        """The books of the frame's products; nobody's where it says that it is of another channel."""
        head = payload[:40]
        if head.startswith(b'{"channel":"') and not head.startswith(b'{"channel":"l2_data"'):
            return ()
        named = [product.instrument for native, product in self._products.items() if f'"{native}"'.encode() in payload]
        return named or None

    def doubted_trades(self, payload: bytes) -> Sequence[str]:
        """The contracts that the frame names, all where it names none; nobody where it is of another channel. Pairs' ids are dense."""
        head = payload[:40]
        if head.startswith(b'{"channel":"') and not head.startswith(b'{"channel":"market_trades"'):
            return ()
        contracts = {native: self._products[native] for native in self._products if not self._products[native].is_dense}
        loose = {native: of.instrument for native, of in contracts.items() if of.instrument in self._followed}
        return tuple(name for native, name in loose.items() if f'"{native}"'.encode() in payload) or tuple(loose.values())

    def _follow(self, number: int | None) -> Sequence[Parsed]:
        """Nothing where `number` is the one that must come, or there is none; otherwise what that means."""
        if number is None or number == self._next:
            self._next += number is not None
            return ()
        if number == self._next - 1:
            return (Drift("message repeated", str(number)),)
        self._is_broken = True
        if number > self._next:
            return (Broken(f"message {self._next} is missing: {number} came"),)
        return (Broken(f"message numbers went back: {number} came for {self._next}"),)


def _subscribe(channel: str, natives: list[str]) -> Message:
    payload = msgspec.json.encode({"type": "subscribe", "product_ids": natives, "channel": channel})
    # The answer for the books follows their snapshots, which may take long: these are the answer.
    return Message(payload, () if channel in (spec.HEARTBEATS, spec.CHANNELS["depth"]) else (channel,))


def _named(subscriptions: Sequence[Subscription], channel: str) -> frozenset[str]:
    return frozenset(s.instrument for s in subscriptions if s.channel == channel)
