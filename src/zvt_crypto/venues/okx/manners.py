"""How OKX is spoken to on one connection (venues.inband.StreamManners)."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence

import msgspec

from zvt_crypto.ports import Subscription
from zvt_crypto.venues.inband import Message
from zvt_crypto.venues.okx import spec
from zvt_crypto.venues.okx.fields import frame_kind
from zvt_crypto.venues.okx.parse import FrameParser, reply_id
from zvt_crypto.venues.okx.units import Traded
from zvt_crypto.venues.parsed import Parsed
from zvt_crypto.venues.span import chunks

Arg = tuple[str, str]  # channel, symbol


class OkxManners:
    """One connection's subscriptions. The state: how many operations were sent, since the venue counts them."""

    exchange = spec.EXCHANGE
    ping: bytes | None = spec.PING
    ping_s = spec.PING_S
    messages_per_s = spec.MESSAGES_PER_S
    kind_of = staticmethod(frame_kind)

    def __init__(self, subscriptions: Sequence[Subscription], natives: Mapping[str, str], traded: Mapping[str, Traded]) -> None:
        """natives: entity id → the venue's symbol, of what is subscribed; traded: the venue's symbol → what it is."""
        self._natives, self._operations = natives, 0
        self._args = list(dict.fromkeys(arg for one in subscriptions for arg in args_of(one, traded[natives[one.instrument]], natives)))
        self._parser = FrameParser(traded)
        # What a frame holds; raises Malformed. The parser's own, without a call between: it is asked for every frame.
        self.parse: Callable[[bytes, int], Sequence[Parsed]] = self._parser.parse

    def subscribe(self) -> list[Message]:
        """All channels, as many to a message as the venue takes. It answers each channel by itself."""
        made = [
            Message(_operation(f"{number}", "subscribe", args), tuple(reply_id(*arg) for arg in args))
            for number, args in enumerate(chunks(self._args, spec.ARGS_MOST), 1)
        ]
        self._operations += len(made)
        return made

    def renew(self, instrument: str) -> list[Message]:
        """Unsubscribe and subscribe again: the snapshot comes with it. None where the venue would count too many operations."""
        if self._operations + 2 > spec.OPERATIONS_MOST:
            return []
        self._operations += 2
        arg = (spec.CHANNELS["depth"], self._natives[instrument])
        return [Message(_operation("", verb, [arg])) for verb in ("unsubscribe", "subscribe")]

    def doubted(self, payload: bytes) -> Sequence[str] | None:
        """Whose book update a frame that cannot be read may have been."""
        return self._parser.doubted(payload)

    def doubted_trades(self, payload: bytes) -> Sequence[str]:
        """Nobody's: the ids show what is missing."""
        return ()


def args_of(subscription: Subscription, of: Traded, natives: Mapping[str, str]) -> list[Arg]:
    """The venue's channels of a subscription: a mark price comes in three parts, of which dated contracts have two."""
    native = natives[subscription.instrument]
    made = [(spec.channel_name(subscription.channel, subscription.interval), native)]
    if subscription.channel == "mark":
        made.append(("index-tickers", of.index))
        if of.has_funding:
            made.append(("funding-rate", native))
    return made


def _operation(number: str, verb: str, args: Sequence[Arg]) -> bytes:
    message: dict[str, object] = {"op": verb, "args": [{"channel": channel, "instId": native} for channel, native in args]}
    return msgspec.json.encode({"id": number, **message} if number else message)
