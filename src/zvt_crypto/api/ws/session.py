"""One client's conversation: messages in, answers and subscriptions out. No sockets."""

from __future__ import annotations

from collections.abc import Callable

from zvt_crypto.api.ws.hub import Hub
from zvt_crypto.api.ws.outbox import Outbox
from zvt_crypto.api.ws.protocol import (
    Params,
    Refusal,
    Request,
    RequestId,
    Topic,
    error_message,
    parse_request,
    result_message,
    text_frame,
    topic_of,
)
from zvt_crypto.domain.errors import BadFrame, NotSubscribed, TooMany, Unsupported, ZvtCryptoError
from zvt_crypto.domain.instrument import Instruments, TradingStatus

MOST_SUBSCRIPTIONS = 200


class Session:
    """The state of one connection."""

    def __init__(
        self,
        hub: Hub,
        instruments: Callable[[], Instruments],
        most_subscriptions: int = MOST_SUBSCRIPTIONS,
        follows: Callable[[str], bool] = lambda _: True,
    ) -> None:
        self.outbox = Outbox()
        self.topics: dict[Topic, None] = {}
        self._hub = hub
        self._instruments = instruments
        self._most = most_subscriptions
        self._follows = follows

    def receive(self, payload: bytes) -> None:
        """A whole text message. The answer, and the first state of a new subscription, lie in the outbox afterwards."""
        request = parse_request(payload)
        if isinstance(request, Refusal):
            self._answer(error_message(request.id, request.error))
            return
        try:
            self._do(request)
        except ZvtCryptoError as error:
            self._answer(error_message(request.id, error))

    def refuse(self, reason: str) -> None:
        """Answer a message that is no text."""
        self._answer(error_message(None, BadFrame(reason)))

    def end(self) -> None:
        """The client is gone. Safe to call twice."""
        for topic in self.topics:
            self._hub.leave(topic, self.outbox)
        self.topics = {}

    def _do(self, request: Request) -> None:
        match request.method:
            case "ping":
                self._answer(result_message(request.id, "pong"))
            case "subscribe":
                self._subscribe(request.id, request.params)
            case "unsubscribe":
                self._unsubscribe(request.id, request.params)

    def _subscribe(self, request_id: RequestId, params: Params) -> None:
        topic = topic_of(params, self._instruments())
        instrument = self._instruments().get(topic.symbol)
        if instrument is not None and instrument.status is TradingStatus.DELISTED:
            raise Unsupported(f"{topic.symbol} is delisted: nothing of it comes any more; its klines are at /kdata")
        if not self._follows(topic.symbol):
            raise Unsupported(f"{topic.symbol} is listed, but not followed here: nothing of it would come")
        if topic not in self.topics and len(self.topics) >= self._most:
            raise TooMany(f"a connection has at most {self._most} subscriptions: unsubscribe, or open another")
        self.topics[topic] = None
        self._answer(result_message(request_id, topic.words()))
        self._hub.join(topic, self.outbox)

    def _unsubscribe(self, request_id: RequestId, params: Params) -> None:
        topic = topic_of(params, self._instruments())
        if topic not in self.topics:
            raise NotSubscribed(f"not subscribed to {' '.join(map(str, topic.words().values()))}")
        del self.topics[topic]
        self._hub.leave(topic, self.outbox)
        self._answer(result_message(request_id, topic.words()))

    def _answer(self, message: bytes) -> None:
        self.outbox.put(text_frame(message))
