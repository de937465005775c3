"""The reference names everything that exists, and nothing that does not."""

from __future__ import annotations

import re
from pathlib import Path

import pytest

from zvt_crypto.cli import exits
from zvt_crypto.cli.settings import Settings, flat
from zvt_crypto.domain import errors

DOCS = Path(__file__).resolve().parents[2] / "docs"


def rows(page: str) -> list[list[str]]:
    """The cells of every table row of a page, without back-ticks."""
    lines = (DOCS / page).read_text("utf-8").splitlines()
    return [[cell.strip().strip("`") for cell in line.strip("|").split("|")] for line in lines if line.startswith("|")]


def error_classes() -> list[type[errors.ZvtCryptoError]]:
    found = [value for value in vars(errors).values() if isinstance(value, type) and issubclass(value, errors.ZvtCryptoError)]
    return list(dict.fromkeys(found))


def test_every_exit_code_is_in_the_table_with_its_name() -> None:
    stated = {row[1]: int(row[0]) for row in rows("reference/errors.md") if row[0].isdigit()}
    assert stated == {name: value for name, value in vars(exits).items() if name.isupper() and isinstance(value, int)}


def test_every_error_code_is_in_the_table_with_its_exit_code() -> None:
    stated = {
        row[0]: int(row[2][-1])
        for row in rows("reference/errors.md")
        if len(row) == 3 and re.fullmatch(r"[a-z_]+", row[0]) and row[2][-1:].isdigit()
    }
    real = {kind.code: exits.exit_code(kind.__new__(kind)) for kind in error_classes()}
    assert stated == real


def test_every_setting_is_in_the_table_with_its_default() -> None:
    stated = {row[0]: row[1] for row in rows("reference/settings.md") if "." in row[0] or row[0] == "data_dir"}
    defaults = flat(Settings())
    assert set(stated) == set(defaults)
    for key, value in defaults.items():
        if key != "data_dir":
            said = ", ".join(map(str, value)) if isinstance(value, list) else "" if value is None else str(value)
            assert stated[key] == said, key


def test_rest_describes_every_problem_that_it_can_answer_with_its_status() -> None:
    from zvt_crypto.api.errors import FRAMEWORK_CODES, status_of
    from zvt_crypto.domain import errors

    page = (DOCS / "reference/rest.md").read_text("utf-8")
    rows = re.findall(r"^\| ([0-9, ]+) \| (`[^|]+) \|", page, re.MULTILINE)
    stated: set[tuple[int, str]] = set()
    for statuses, codes in rows:
        numbers, names = [int(s) for s in statuses.split(",")], re.findall(r"`([a-z_]+)`", codes)
        stated |= set(zip(numbers, names, strict=True)) if len(numbers) > 1 else {(numbers[0], name) for name in names}

    kinds = [kind for kind in vars(errors).values() if isinstance(kind, type) and issubclass(kind, errors.ZvtCryptoError)]
    possible = {(status_of(kind.__new__(kind)), kind.code) for kind in kinds} | set(FRAMEWORK_CODES.items())
    possible = {(status, code) for status, code in possible if status != 500} | {(500, "internal")}
    websocket = {"bad_frame", "unknown_method", "unknown_channel", "not_subscribed", "too_many", "origin_not_allowed"}
    # Settings, imports, our own orders and full readers of ours: no request of the API meets them.
    elsewhere = {"bad_config", "bad_capture", "venue_outcome_unknown", "overflow"}
    assert stated == {(status, code) for status, code in possible if code not in websocket | elsewhere}


def test_every_command_and_option_is_described() -> None:
    import typer.main

    from zvt_crypto.cli.main import app

    page = (DOCS / "reference/cli.md").read_text("utf-8")

    def walk(command: object, path: str) -> list[str]:
        inner = getattr(command, "commands", {})
        missing = [] if not path or f"`{path}" in page else [path]
        for option in getattr(command, "params", []):
            longest = max(option.opts, key=len)
            if longest.startswith("--") and longest != "--help" and not option.hidden and f"`{longest}" not in page:
                missing.append(f"{path} {longest}")
        return missing + [m for name, sub in inner.items() for m in walk(sub, f"{path} {name}".strip())]

    assert walk(typer.main.get_command(app), "") == []


@pytest.mark.parametrize("page", sorted(DOCS.rglob("*.md"), key=str), ids=lambda p: str(p.relative_to(DOCS)))
def test_links_lead_somewhere(page: Path) -> None:
    for target in re.findall(r"\]\(([^)#\s]+)(?:#[^)]*)?\)", page.read_text("utf-8")):
        if not target.startswith(("http:", "https:")):
            assert (page.parent / target).exists(), f"{page.name}: {target}"


def test_the_pages_are_all_in_the_menu() -> None:
    menu = (DOCS.parent / "mkdocs.yml").read_text("utf-8")
    assert [str(p.relative_to(DOCS)) for p in DOCS.rglob("*.md") if str(p.relative_to(DOCS)) not in menu] == []


def test_every_venue_has_a_page_with_its_own_table() -> None:
    from zvt_crypto.cli.commands.venues import markdown_table
    from zvt_crypto.venues import CAPABILITIES

    for exchange, table in CAPABILITIES.items():
        page = (DOCS / f"reference/venues/{exchange}.md").read_text("utf-8")
        stated = page.partition("<!-- capabilities -->\n")[2].partition("\n<!-- /capabilities -->")[0]
        assert stated == markdown_table(table), (
            f"`zvt-crypto venues {exchange} --markdown` is newer than docs/reference/venues/{exchange}.md"
        )
