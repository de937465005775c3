"""The outermost layer of the API: refuses what no endpoint should see, answers faults, and counts."""

from __future__ import annotations

import time
import traceback
from collections.abc import Mapping

from starlette.datastructures import MutableHeaders
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from zvt_crypto.api.access import host_allowed
from zvt_crypto.api.deps import AccessRules
from zvt_crypto.api.errors import answer_of, framework_problem, internal_problem, new_correlation_id
from zvt_crypto.api.query import check_names
from zvt_crypto.domain.errors import ZvtCryptoError, shown
from zvt_crypto.ports import Observer
from zvt_crypto.telemetry.metrics import Timer

MOST_BODY = 64 * 1024
MOST_TARGET = 8 * 1024  # path and query


class Boundary:
    """ASGI middleware. The only place below the supervisor that catches everything: a request is a unit of its own.

    `hot` are the endpoints that a GET reaches straight from here, by path: the framework's router costs as much as their answer.
    `parameters`: the names that the query string of a path may hold; those that are not in it may hold any.
    """

    def __init__(
        self,
        app: ASGIApp,
        access: AccessRules,
        observer: Observer,
        known_paths: frozenset[str],
        hot: Mapping[str, ASGIApp],
        parameters: Mapping[str, frozenset[str]],
    ) -> None:
        self._app = app
        self._hot = hot
        self._access = access
        self._observer = observer
        self._timer = observer if isinstance(observer, Timer) else None
        self._known_paths = known_paths
        self._parameters = parameters

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] != "http":
            await self._app(scope, receive, send)
            return
        started, status = time.perf_counter(), 0
        headers = dict(scope["headers"])
        origin = headers.get(b"origin", b"").decode("latin-1")

        async def send_on(message: Message) -> None:
            nonlocal status
            if message["type"] == "http.response.start":
                status = message["status"]
                self._complete(message, origin)
            await send(message)

        try:
            refusal = self._refusal(scope, headers)
            if refusal is not None:
                await framework_problem(*refusal, scope["path"])(scope, receive, send_on)
            else:
                known = self._parameters.get(scope["path"])
                if known is not None and scope["query_string"]:
                    check_names(scope["query_string"], known)
                app = self._hot.get(scope["path"]) if scope["method"] in ("GET", "HEAD") else None
                await (app or self._app)(scope, receive, send_on)
        except ZvtCryptoError as error:
            await self._answer_error(error, scope, receive, send_on)
        except Exception as fault:
            if status:  # an answer is under way: the server must cut it short
                raise
            await self._answer_fault(fault, scope, receive, send_on)
        finally:
            self._count(scope, status, time.perf_counter() - started)

    def _refusal(self, scope: Scope, headers: Mapping[bytes, bytes]) -> tuple[int, str] | None:
        """(status, detail) of a request that goes no further."""
        host = headers.get(b"host", b"").decode("latin-1")
        if not host_allowed(host, self._access):
            return 421, f"host {shown(host)} is not one of ours: add it to the accepted hosts if it is"
        if len(scope["query_string"]) + len(scope["raw_path"] or b"") > MOST_TARGET:
            return 414, f"path and query are longer than {MOST_TARGET} bytes"
        length = headers.get(b"content-length", b"0")
        if not length.isdigit() or int(length) > MOST_BODY:
            return 413, f"the body is larger than {MOST_BODY} bytes"
        return None

    def _complete(self, message: Message, origin: str) -> None:
        """Headers that every answer carries."""
        raw = message.setdefault("headers", [])
        raw.append((b"x-content-type-options", b"nosniff"))
        if origin and origin in self._access.origins:
            allowed = MutableHeaders(raw=raw)
            allowed["access-control-allow-origin"] = origin
            allowed["vary"] = "Origin"

    async def _answer_error(self, error: ZvtCryptoError, scope: Scope, receive: Receive, send: Send) -> None:
        answer = answer_of(error, scope["path"])
        if answer is None:
            await self._answer_fault(error, scope, receive, send)
        else:
            await answer(scope, receive, send)

    async def _answer_fault(self, fault: Exception, scope: Scope, receive: Receive, send: Send) -> None:
        correlation_id = new_correlation_id()
        trace = "".join(traceback.format_exception(fault, limit=-20))
        self._observer.note("error", "request failed", correlation_id=correlation_id, path=scope["path"], exception=trace)
        await internal_problem(correlation_id)(scope, receive, send)

    def _count(self, scope: Scope, status: int, seconds: float) -> None:
        path = scope["path"] if scope["path"] in self._known_paths else "other"
        self._observer.count("api.requests", path=path, status=str(status))
        if self._timer is not None:
            self._timer.time("api.seconds", seconds, path=path)
