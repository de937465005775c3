"""The page at /docs as its script makes it, run by Node on the smallest document that it needs."""

from __future__ import annotations

import json
import shutil
import subprocess
from pathlib import Path

import pytest

from api.api_parts import Api

PAGE = Path(__file__).resolve().parents[2] / "src" / "zvt_crypto" / "api" / "page" / "page.js"
# As much of a browser as the script touches; at the end, every element that holds text, as [tag, text].
BROWSER = """
const spec = JSON.parse(require("fs").readFileSync(0, "utf8")), found = {}, told = [];
class Element {
  constructor(tag) { this.tag = tag; this.children = []; }
  set textContent(text) { this.children = text === "" ? [] : [String(text)]; }
  append(...more) { this.children.push(...more); }
  addEventListener() {}
  replaceWith(other) { found[other.id] = other; }
  tell() { for (const child of this.children) typeof child === "string" ? told.push([this.tag, child]) : child.tell(); }
}
global.document = {
  createElement: (tag) => new Element(tag),
  getElementById: (id) => (found[id] ??= new Element(id)),
};
global.fetch = async () => ({ json: async () => spec });
setImmediate(() => { for (const one of Object.values(found)) one.tell(); console.log(JSON.stringify(told)); });
"""


def shown(document: str) -> list[tuple[str, str]]:
    """(tag, text) of everything that the page shows of an OpenAPI document."""
    node = shutil.which("node")
    if node is None:
        pytest.skip("needs Node.js: the page's script is run")
    script = BROWSER + PAGE.read_text()
    done = subprocess.run([node, "-e", script], input=document, capture_output=True, text=True, check=True, timeout=60)
    return [(tag, text) for tag, text in json.loads(done.stdout)]


@pytest.fixture
async def texts(api: Api) -> list[tuple[str, str]]:
    """Of ours."""
    async with api.http.get(f"{api.url}/openapi.json") as answer:
        return shown(await answer.text())


async def test_code_in_texts_is_shown_as_code_and_no_backtick_is_left(texts: list[tuple[str, str]]) -> None:
    prose = [(tag, text) for tag, text in texts if tag in ("p", "small", "span", "code", "intro")]
    assert [text for _, text in prose if "`" in text] == []
    assert {"cryptopair_binance_btcusdt", "BTC/USDT:USDT", "final", "stale"} <= {text for tag, text in prose if tag == "code"}
    assert any(tag == "p" and text.startswith("Market data of crypto exchanges") for tag, text in prose)


async def test_a_paragraph_is_not_broken_where_its_source_is(texts: list[tuple[str, str]]) -> None:
    (intro,) = [text for tag, text in texts if tag == "p" and text.startswith("Market data")]
    assert intro.count("\n") == 2  # one blank line
