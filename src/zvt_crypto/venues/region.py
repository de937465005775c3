"""What a 403 says when it is about where we are, and not about how we ask. One list for all exchanges, requests and handshakes.

The words are those of the exchanges and of the firewalls in front of them, of which any exchange may have either.
"""

from __future__ import annotations

import re

_WORDS = re.compile(
    rb"restricted location|eligib|(?:your|this) (?:country|region|jurisdiction)|country or region|not available in|U\.S\. IP", re.IGNORECASE
)
# A firewall's page names the reason within its first screens.
_BYTES_MOST = 16_384


def refuses_region(status: int, body: bytes) -> bool:
    """Whether an answer means that this region is not served."""
    return status == 451 or (status == 403 and _WORDS.search(body[:_BYTES_MOST]) is not None)
