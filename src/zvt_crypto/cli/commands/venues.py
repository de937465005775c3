"""`venues`: what each exchange can do, from the table that the conformance suite holds to its word."""

from __future__ import annotations

from zvt_crypto.cli import exits
from zvt_crypto.cli.out import print_json, print_table
from zvt_crypto.domain.errors import UnknownExchange
from zvt_crypto.venues import CAPABILITIES
from zvt_crypto.venues.capability import FEATURES, Capabilities, Claim, Market

MARKETS: tuple[Market, ...] = ("spot", "perp")
_SHORT = {"native": "yes", "derived": "derived", "missing": "-"}


def run_venues(exchange: str | None, *, markdown: bool = False, as_json: bool = False) -> int:
    """Print one venue with its notes, or all side by side. Raises UnknownExchange."""
    if exchange is not None and exchange not in CAPABILITIES:
        raise UnknownExchange(exchange, list(CAPABILITIES))
    chosen = [exchange] if exchange else list(CAPABILITIES)
    if as_json:
        print_json({name: {market: _told(CAPABILITIES[name][market]) for market in MARKETS} for name in chosen})
    elif markdown:
        print("\n\n".join(markdown_table(CAPABILITIES[name]) for name in chosen))
    elif exchange:
        rows = _rows(CAPABILITIES[exchange])
        print_table(rows, ["feature", *MARKETS, "note"], title=exchange)
    else:
        columns = [f"{name} {market}" for name in chosen for market in MARKETS]
        print_table([_side_by_side(feature, chosen) for feature in FEATURES], ["feature", *columns])
        print("\nderived: made by zvt-crypto from something finer, and marked so.  `zvt-crypto venues NAME` tells why.")
    return exits.OK


def markdown_table(table: Capabilities) -> str:
    """The table of one venue as it stands in the docs."""
    lines = ["| feature | spot | perpetuals | note |", "|---|---|---|---|"]
    lines += [f"| `{row['feature']}` | {row['spot']} | {row['perp']} | {row['note']} |" for row in _rows(table)]
    return "\n".join(lines)


def _side_by_side(feature: str, exchanges: list[str]) -> dict[str, str]:
    cells = {f"{name} {market}": _SHORT[CAPABILITIES[name][market][feature].how] for name in exchanges for market in MARKETS}
    return {"feature": feature, **cells}


def _rows(table: Capabilities) -> list[dict[str, str]]:
    rows = []
    for feature in FEATURES:
        stated = {market: table[market][feature] for market in MARKETS}
        cells: dict[str, str] = {market: _SHORT[claim.how] for market, claim in stated.items()}
        rows.append({"feature": feature, **cells, "note": _note(stated)})
    return rows


def _note(stated: dict[Market, Claim]) -> str:
    """The markets' notes; one that both share, or only one has, stands alone."""
    notes = {market: claim.note for market, claim in stated.items() if claim.note}
    if len(set(notes.values())) <= 1 and len(notes) != 1:
        return next(iter(notes.values()), "")
    return "; ".join(f"{market}: {note}" for market, note in notes.items())


def _told(claims: object) -> dict[str, dict[str, str]]:
    assert isinstance(claims, dict), "a table of claims"
    return {feature: {"how": claim.how, "note": claim.note} for feature, claim in claims.items()}
