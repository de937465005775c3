"""Why a venue was not reached, in words for people: who did not answer, and how. The only place that knows the libraries' errors."""

from __future__ import annotations

import asyncio
import errno
import os
import re
import socket
import ssl
from urllib.parse import urlsplit

import aiohttp
import picows

from zvt_crypto.domain.errors import shown

_PORTS = {"https": 443, "wss": 443, "http": 80, "ws": 80}
_ERRNO = re.compile(r"\[Errno (\d+)\]")  # in an error that gathers those of several addresses of one name
_CLOSED = (errno.ECONNRESET, errno.EPIPE, errno.ECONNABORTED, errno.ESHUTDOWN)
_NO_WAY = (errno.ENETUNREACH, errno.EHOSTUNREACH, errno.ENETDOWN, errno.EADDRNOTAVAIL)
_TLS = {  # where OpenSSL's own words say it for those only who know it
    "WRONG_VERSION_NUMBER": "the other side does not speak TLS",
    "UNEXPECTED_EOF_WHILE_READING": "the other side ended it",
    "SSLV3_ALERT_HANDSHAKE_FAILURE": "the other side refuses the handshake",  # no version or cipher in common, or no reason given
    "TLSV1_ALERT_PROTOCOL_VERSION": "the other side speaks another version of TLS",
    "TLSV1_UNRECOGNIZED_NAME": "the other side does not know the name that it was called by",
    "TLSV1_ALERT_INTERNAL_ERROR": "the other side has an error of its own",
}


def place_of(url: str) -> str:
    """`host:port`, the port also where the URL leaves it to its scheme."""
    parts = urlsplit(url)
    host = parts.hostname or "?"
    return f"{f'[{host}]' if ':' in host else host}:{parts.port or _PORTS.get(parts.scheme, '?')}"


def cause_of(error: BaseException, place: str) -> str:
    """`127.0.0.1:1 refuses the connection` and its kin, for whatever a library raised who tried to reach the place."""
    found = _innermost(error)
    if isinstance(found, ssl.SSLError):
        return f"TLS with {place} failed: {_tls_reason(found)}"
    if isinstance(found, socket.gaierror):
        return _unnamed(found, place.rpartition(":")[0] or place)
    if isinstance(found, TimeoutError):
        return f"{place} does not answer in time"
    if isinstance(found, (aiohttp.ClientPayloadError, asyncio.IncompleteReadError)):
        return f"{place} closed the connection in the middle of its answer"
    if isinstance(found, aiohttp.ServerDisconnectedError):
        return f"{place} closed the connection without an answer"
    if isinstance(found, (aiohttp.ClientResponseError, picows.WSInvalidMessageError)):
        return f"{place} does not answer in HTTP"
    if isinstance(found, OSError) and (number := _number(found)) is not None:
        return _system(number, place)
    return f"{place}: {shown(str(found) or 'the connection failed', 200)}"


def _innermost(error: BaseException) -> BaseException:
    """What aiohttp wrapped while it connected."""
    if isinstance(error, aiohttp.ClientConnectorCertificateError):
        return error.certificate_error
    return error.os_error if isinstance(error, aiohttp.ClientConnectorError) else error


def _unnamed(error: socket.gaierror, host: str) -> str:
    if error.errno == socket.EAI_AGAIN:
        return f"the name {host} cannot be looked up now: no name server answers"
    return f"the name {host} is not known"


def _system(number: int, place: str) -> str:
    if number == errno.ECONNREFUSED:
        return f"{place} refuses the connection"
    if number == errno.ETIMEDOUT:
        return f"{place} does not answer in time"
    if number in _CLOSED:
        return f"{place} closed the connection in the middle"
    words = _lowered(os.strerror(number))
    return f"there is no way to {place}: {words}" if number in _NO_WAY else f"{place}: {words}"


def _number(error: OSError) -> int | None:
    if error.errno is not None:
        return error.errno
    if isinstance(error, ConnectionError):
        return errno.ECONNRESET
    numbers = [int(found) for found in _ERRNO.findall(str(error))]
    return numbers[0] if numbers else None


def _tls_reason(error: ssl.SSLError) -> str:
    if isinstance(error, ssl.SSLCertVerificationError):
        return f"its certificate is not accepted: {_lowered(error.verify_message.rstrip('.'))}"
    reason = getattr(error, "reason", None) or "no handshake"
    return _TLS.get(reason, reason.replace("_", " ").lower())


def _lowered(text: str) -> str:
    return text[:1].lower() + text[1:]
