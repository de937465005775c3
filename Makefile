# The two commands that a newcomer needs: `make demo` and `make test`. Nothing but a Python 3.11+ is assumed.
.POSIX:
.SUFFIXES:

BIN = .venv/bin
PYTHON = $(BIN)/python
# pytest's workers; one a core
JOBS = auto
# more arguments for pytest, for example `make test TESTS=tests/domain`
TESTS =
COVER =
# large seeds for `make prove`
SEEDS = 200

.PHONY: help setup demo test coverage check format bench docs prove audit lock clean

help:
	@echo "make demo      a whole exchange, platform and database on this machine, live in your terminal (DEMO_SECONDS=30 ends by itself)"
	@echo "make test      every test"
	@echo "make check     style, types, import rules, security rules, secrets, repo rules"
	@echo "make coverage  every test, and what they cover, room by room"
	@echo "make bench     every benchmark; writes benchmarks/RESULTS.md"
	@echo "make docs      the documentation into site/"
	@echo "make prove     the long proofs, some two hours (SEEDS=$(SEEDS))"
	@echo "make audit     the lock files against a vulnerability database"
	@echo "make lock      requirements*.txt anew from pyproject.toml"
	@echo "make setup     the development environment in .venv"
	@echo "make clean     remove everything that make made, .venv included"

setup: .venv/.ready-dev

.venv/.ready-run: requirements.txt pyproject.toml .ci/bootstrap
	@sh .ci/bootstrap run

.venv/.ready-dev: requirements-dev.txt pyproject.toml .ci/bootstrap
	@sh .ci/bootstrap dev

demo: .venv/.ready-run
	@$(BIN)/zvt-crypto demo

test: .venv/.ready-dev
	$(PYTHON) -m pytest -n $(JOBS) --dist worksteal $(COVER) $(TESTS)

coverage: .venv/.ready-dev
	$(PYTHON) -m coverage erase
	$(MAKE) test COVER="--cov --cov-report="
	$(PYTHON) .ci/coverage_by_room.py

check: .venv/.ready-dev
	$(BIN)/ruff format --check .
	$(BIN)/ruff check .
	$(BIN)/mypy
	$(BIN)/lint-imports
	$(BIN)/bandit -q -c pyproject.toml -r src
	$(PYTHON) .ci/repo_rules.py

format: .venv/.ready-dev
	$(BIN)/ruff format .
	$(BIN)/ruff check --fix .

bench: .venv/.ready-dev
	$(PYTHON) benchmarks/run.py --write

docs: .venv/.ready-dev
	$(BIN)/mkdocs build --strict --quiet
	@echo "site/index.html"

prove: .venv/.ready-dev
	ZVT_CRYPTO_PROVE_SEEDS=$(SEEDS) $(PYTHON) -m pytest -n $(JOBS) -m "prove and not alone" --timeout 3600
	ZVT_CRYPTO_PROVE_SEEDS=$(SEEDS) $(PYTHON) -m pytest -n 0 -m alone --timeout 3600

audit: .venv/.ready-dev
	@$(PYTHON) .ci/audit.py

lock: .venv/.ready-dev
	@sh .ci/lock

clean:
	rm -rf .venv site dist build var .coverage .coverage.* htmlcov .mypy_cache .ruff_cache .import_linter_cache .hypothesis .schemathesis
	find . -name __pycache__ -type d -prune -exec rm -rf {} +
