"""The workshop: make's targets, the bootstrap's words, the locks, the repo rules, the benchmark runner."""

from __future__ import annotations

import importlib.util
import re
import subprocess
import sys
from pathlib import Path
from types import ModuleType

import pytest

REPO = Path(__file__).resolve().parents[2]


def load(path: str) -> ModuleType:
    spec = importlib.util.spec_from_file_location(f"workshop_{Path(path).stem}", REPO / path)
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


@pytest.mark.parametrize(
    "target", ["setup", "demo", "test", "coverage", "check", "format", "bench", "docs", "prove", "audit", "lock", "clean"]
)
def test_make_knows_every_target_that_help_tells(target: str) -> None:
    assert subprocess.run(["make", "-n", target], cwd=REPO, capture_output=True, check=False).returncode == 0
    told = subprocess.run(["make", "help"], cwd=REPO, capture_output=True, text=True, check=True).stdout
    assert target == "format" or f"make {target}" in told


def test_without_a_suitable_python_the_bootstrap_says_what_to_do(tmp_path: Path) -> None:
    (tmp_path / ".ci").mkdir()
    (tmp_path / ".ci" / "bootstrap").write_bytes((REPO / ".ci" / "bootstrap").read_bytes())
    tools = tmp_path / "bin"
    tools.mkdir()
    for name in ("sh", "dirname", "rm", "touch", "tail"):
        found = subprocess.run(["sh", "-c", f"command -v {name}"], capture_output=True, text=True, check=True).stdout.strip()
        (tools / name).symlink_to(found)
    done = subprocess.run(
        [str(tools / "sh"), ".ci/bootstrap", "run"], cwd=tmp_path, env={"PATH": str(tools)}, capture_output=True, text=True, check=False
    )
    assert done.returncode == 1
    assert "Python 3.11 or newer is needed" in done.stderr


@pytest.mark.parametrize("lock", ["requirements.txt", "requirements-dev.txt"])
def test_every_locked_package_has_hashes_and_no_address(lock: str) -> None:
    text = (REPO / lock).read_text()
    packages = re.findall(r"(?m)^[A-Za-z0-9][\w.\-]*==.*?(?=^\S|\Z)", text, re.DOTALL)
    assert len(packages) > 40
    assert all("--hash=sha256:" in package for package in packages)
    assert "://" not in text


@pytest.mark.parametrize(
    ("name", "text", "rule"),
    [
        ("a.md", "-----BEGIN RSA PRIVATE " + "KEY-----", "private key"),
        ("a.py", 'api_key = "' + "abcdefghijklmnopqrstuvwx" + '"', "secret in an assignment"),
        ("a.py", "AKIA" + "ABCDEFGHIJKLMNOP", "cloud key"),
        ("a.md", "postgresql://me:" + "swordfish@db/x", "password in an address"),
        ("a.md", "see /ho" + "me/somebody/notes", "path of a machine"),
        ("a.txt", "https://files.pythonhosted" + ".org/x", "package host"),
        ("requirements.txt", "x @ http" + "s://example.com/x.whl", "address in a lock file"),
        ("a.py", "# TO" + "DO: later", "unfinished"),
    ],
)
def test_the_repo_rules_find_what_must_not_be_committed(tmp_path: Path, name: str, text: str, rule: str) -> None:
    (tmp_path / name).write_text(text + "\n")
    rules = load(".ci/repo_rules.py")
    assert any(rule in trouble for trouble in rules.check(tmp_path, name))
    (tmp_path / name).write_text(text + "  repo-rules: allow\n")
    assert list(rules.check(tmp_path, name)) == []


def test_a_heavy_file_is_found(tmp_path: Path) -> None:
    (tmp_path / "big.bin").write_bytes(b"\xff" * 1_000_001)
    assert "heavy" in next(iter(load(".ci/repo_rules.py").check(tmp_path, "big.bin")))


def test_figures_replace_their_own_section_and_no_other(tmp_path: Path) -> None:
    run = load("benchmarks/run.py")
    page = run.with_section(run.with_section(run.HEAD, "books", "## books\n\nstale figures\n"), "decode", "## decode\n\nkept\n")
    page = run.with_section(
        page,
        "books",
        run.section(Path("books.py"), {"figures": {"messages": 40_000.0, "n": 5}, "ratios": {"ccxt.books": 12.345}}, quick=True),
    )
    assert "stale figures" not in page
    assert page.index("## books") < page.index("## decode")
    assert "kept" in page
    assert "| `ccxt.books` (ratio) | 12.3 |" in page
    assert "| `messages` | 40,000 |" in page


def test_a_benchmark_without_figures_is_told(tmp_path: Path) -> None:
    run = load("benchmarks/run.py")
    good, bad = tmp_path / "good.py", tmp_path / "bad.py"
    good.write_text("print('words'); print('{\"a\": 1}')")
    bad.write_text("print('words')")
    assert run.run_one(good, quick=True) == {"a": 1}
    assert run.run_one(bad, quick=True) is None


def test_the_benchmark_runner_names_what_it_does_not_know() -> None:
    done = subprocess.run([sys.executable, "benchmarks/run.py", "nothing"], cwd=REPO, capture_output=True, text=True, check=False)
    assert done.returncode == 2
    assert "no benchmark nothing" in done.stderr
