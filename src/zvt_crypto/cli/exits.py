"""Exit codes, stable within v1, and how an error becomes one line on stderr."""

from __future__ import annotations

import sys
import traceback

from zvt_crypto.domain.errors import BadInput, GaveUp, NotFound, PortTaken, StoreError, UnknownSymbol, VenueError, ZvtCryptoError
from zvt_crypto.telemetry.redact import redact_text

OK = 0
FAILURE = 1  # something that is none of the others, a check that failed among them
BAD_INPUT = 2  # the command line, a setting, a symbol, a file: mend it and call again
VENUE = 3  # the exchange refused, throttled, blocked this region, or cannot be reached
STORE = 4  # the database refused or cannot be reached
PORT_TAKEN = 5  # another process listens where we should
INTERRUPTED = 130  # Ctrl-C before the work was complete

# First fit wins.
CODES: tuple[tuple[type[BaseException], int], ...] = (
    (PortTaken, PORT_TAKEN),
    (BadInput, BAD_INPUT),
    (NotFound, BAD_INPUT),
    (VenueError, VENUE),
    (StoreError, STORE),
    (KeyboardInterrupt, INTERRUPTED),
)


def exit_code(error: BaseException) -> int:
    """The exit status that stands for an error; of one that gave up, its cause's."""
    if isinstance(error, GaveUp) and error.__cause__ is not None:
        return exit_code(error.__cause__)
    if isinstance(error, BaseExceptionGroup):
        return exit_code(error.exceptions[0])
    for kind, code in CODES:
        if isinstance(error, kind):
            return code
    return FAILURE


def report(error: BaseException, *, debug: bool, of: str = "") -> int:
    """Print the error as one line on stderr (with its traceback under --debug); returns the exit status. `of`: what failed of several."""
    if debug:
        traceback.print_exception(error)
    if isinstance(error, BaseExceptionGroup) and len(error.exceptions) == 1:
        return report(error.exceptions[0], debug=False)
    if isinstance(error, ZvtCryptoError):
        hint = "; `zvt-crypto pairs` lists what is stored" if isinstance(error, UnknownSymbol) else ""
        said = f"error: {of}{': ' if of else ''}{error}{hint} [{error.code}]"
    elif isinstance(error, KeyboardInterrupt):
        said = "interrupted"
    elif isinstance(error, OSError):
        said = f"error: {error.strerror or error}{f': {error.filename}' if error.filename else ''}"
    else:
        said = f"error: {type(error).__name__}: {error} (a fault of ours: --debug shows where)"
    print(redact_text(" ".join(said.split())), file=sys.stderr)
    return exit_code(error)
