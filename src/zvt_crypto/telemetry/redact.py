"""What must never stand in a log: values of secret-looking fields, and credentials inside URLs and text."""

from __future__ import annotations

import re
from collections.abc import Mapping
from urllib.parse import unquote

REDACTED = "[redacted]"
MOST_TEXT = 4_000  # characters of one value; a line is read by people and shipped by agents with a line limit
MOST_ITEMS = 100
MOST_DEPTH = 6

_SECRET_NAME = re.compile(
    r"secret|passw|passphrase|\bpwd\b|token|api[_-]?key|private|credential|authorization|cookie|signature|mnemonic|\bdsn\b", re.IGNORECASE
)
# A login that ends in *** is one that `redact_url` has shortened.
_URL_LOGIN = re.compile(r"(?P<scheme>[a-zA-Z][a-zA-Z0-9+.-]*://)(?![^\s/?#@]*\*\*\*@)[^\s/?#]*@")
_URL_HOST = re.compile(r"(?P<scheme>[a-zA-Z][a-zA-Z0-9+.-]*)://(?P<place>[^/?#]*)")
_URL_PARAMETER = re.compile(r"(?P<name>[?&;#][^=&;#]+=)(?P<value>[^&;#]*)")
# Of an address alone, where a parameter of such a name can be nothing else.
_SECRET_IN_URL = re.compile(r"^(?:key|auth|sig|sign|access|user|login|pass)$|[_-](?:key|auth|sig)$", re.IGNORECASE)
_NAMING = ("postgresql", "postgres", "redis", "rediss")  # the user before the password is a name there, and no secret
_SECRET_PARAMETER = re.compile(
    r"(?P<name>\b(?:signature|[a-z_]*api_?key|[a-z_]*token|[a-z_]*secret|passphrase|[a-z_]*password|passwd|pwd)\s*[=:]\s*)(?P<value>\"[^\"]*\"|'[^']*'|[^\s&,;\"']+)",
    re.IGNORECASE,
)
_BEARER = re.compile(r"\b(?P<kind>Bearer|Basic)\s+[A-Za-z0-9._~+/=-]{8,}", re.IGNORECASE)


def is_secret_name(name: str) -> bool:
    """Whether a field of this name may hold a secret."""
    return _SECRET_NAME.search(name) is not None


def redact_text(text: str) -> str:
    """The text without credentials in URLs, secret parameters and authorization headers, cut at `MOST_TEXT` characters."""
    cut = text if len(text) <= MOST_TEXT else text[:MOST_TEXT] + "…"
    cut = _URL_LOGIN.sub(rf"\g<scheme>{REDACTED}@", cut)
    cut = _BEARER.sub(rf"\g<kind> {REDACTED}", cut)
    return _SECRET_PARAMETER.sub(rf"\g<name>{REDACTED}", cut)


def redact_url(url: str, instead: str = "***") -> str:
    """An address without its secrets: the password (of anything but a database the user, too, which may be a token) and parameters that
    are called like one."""

    def hidden(found: re.Match[str]) -> str:
        name = unquote(found["name"][1:-1])
        is_secret = is_secret_name(name) or _SECRET_IN_URL.search(name) is not None
        return found["name"] + instead if is_secret and found["value"] else found[0]

    shown = _URL_PARAMETER.sub(hidden, url)
    start = _URL_HOST.match(shown)
    if start is None:
        return shown
    if "@" not in start["place"]:
        return _hide_broken_login(shown, start, instead)
    login, _, host = start["place"].rpartition("@")
    user, colon, _ = login.partition(":")
    if start["scheme"].lower() not in _NAMING:
        login = instead
    elif colon:
        login = f"{user}:{instead}"
    return f"{start['scheme']}://{login}@{host}{shown[start.end() :]}"


def _hide_broken_login(url: str, start: re.Match[str], instead: str) -> str:
    """A password with a bare / ? or # in it ends the host too early: all before the last @ is taken for the login then."""
    tail = url[start.end() :]
    name, colon, rest = start["place"].rpartition(":")
    of_database = start["scheme"].lower() in _NAMING and "=" not in tail.rpartition("@")[0]
    if "@" not in tail or not colon or name.endswith("]") or (rest.isdigit() and not of_database):
        return url
    return f"{start['scheme']}://{instead}@{tail.rpartition('@')[2]}"


def redact(value: object, depth: int = 0) -> object:
    """A copy that is safe to write down: secret-looking keys emptied, text cleaned, size and depth bounded."""
    if isinstance(value, str):
        return redact_text(value)
    if value is None or isinstance(value, bool | int | float):
        return value
    if depth >= MOST_DEPTH:
        return "…"
    if isinstance(value, Mapping):
        kept = list(value.items())[:MOST_ITEMS]
        return {str(k): REDACTED if is_secret_name(str(k)) else redact(v, depth + 1) for k, v in kept}
    if isinstance(value, list | tuple | set | frozenset):
        return [redact(item, depth + 1) for item in list(value)[:MOST_ITEMS]]
    return redact_text(str(value))
