"""One exchange after the other: a command does all that are named, and one that fails does not stop the others."""

from __future__ import annotations

from collections.abc import Callable, Sequence

import msgspec

from zvt_crypto.cli import exits
from zvt_crypto.cli.settings import Settings
from zvt_crypto.domain.errors import StoreError, ZvtCryptoError
from zvt_crypto.domain.exchanges import check_exchange
from zvt_crypto.telemetry.redact import redact_text


class Failed(msgspec.Struct, frozen=True):
    """An exchange of which nothing was done, and why."""

    exchange: str
    error: str
    code: str


def check_exchanges(names: Sequence[str]) -> tuple[str, ...]:
    """The exchange ids in lower case, each once, in their order. Raises UnknownExchange."""
    return tuple(dict.fromkeys(check_exchange(name) for name in names))


def of_exchange(settings: Settings, exchange: str) -> Settings:
    """The same, of one exchange alone. Raises UnknownExchange."""
    return msgspec.structs.replace(settings, ingest=msgspec.structs.replace(settings.ingest, exchanges=(check_exchange(exchange),)))


def do_each(names: Sequence[str], work: Callable[[str], None]) -> tuple[list[Failed], int]:
    """Work for each; those that failed, each told on stderr at once, and the exit status of the first of them.

    Raises UnknownExchange before anything is started, what a single exchange raises, and StoreError: the database is the same for all.
    """
    exchanges = check_exchanges(names)
    if len(exchanges) == 1:
        work(exchanges[0])
        return [], exits.OK
    failed: list[Failed] = []
    code = exits.OK
    for exchange in exchanges:
        try:
            work(exchange)
        except StoreError:
            raise
        except ZvtCryptoError as error:
            code = code or exits.exit_code(error)
            exits.report(error, debug=False, of=exchange)
            failed.append(Failed(exchange, redact_text(str(error)), error.code))
    return failed, code
