# What people do often. Works with Debian's base system, python3, git and make; `make help` lists the targets.

SHELL := /bin/bash
.SHELLFLAGS := -euo pipefail -c
.ONESHELL:
.DEFAULT_GOAL := help
MAKEFLAGS += --no-builtin-rules --no-print-directory
.PHONY: help install test-needs run test soak lint format docs lock clean

DATA ?= data
LISTEN ?= 127.0.0.1:8443
PYTHON ?= python3
UV_VERSION := 0.13.9
UPGRADE ?= --upgrade

BIN := .venv/bin
PIP := $(BIN)/pip --disable-pip-version-check --no-input --quiet
COMPILE := .venv-lock/bin/uv pip compile --quiet --universal --generate-hashes --python-version 3.11 \
	--no-header --no-emit-index-url --no-emit-find-links --no-config --extra postgres --extra dev

# A need is "command that succeeds where it is met|package that meets it".
SERVICE_NEEDS := 'ls /usr/lib*/softhsm/libsofthsm2.so || ls /usr/lib/*/softhsm/libsofthsm2.so|softhsm2' \
	'$(PYTHON) -c "import ensurepip"|python3-venv' 'command -v openssl|openssl'
TEST_NEEDS := 'ls /usr/lib/postgresql/*/bin/initdb || command -v initdb|postgresql' 'command -v lego|lego' \
	'command -v certtool|gnutls-bin' 'command -v ssh-keygen|openssh-client' 'command -v gcc|gcc' 'ls /usr/include/stdio.h|libc6-dev' \
	'command -v strace|strace' 'ls /usr/sbin/mkfs.ext4 || ls /sbin/mkfs.ext4|e2fsprogs' \
	'command -v p11-kit|p11-kit' 'ls /usr/lib/*/pkcs11/p11-kit-client.so|p11-kit-modules' 'command -v swtpm|swtpm' \
	'ls /usr/sbin/sshd || command -v sshd|openssh-server' 'ls /usr/lib/*/pkcs11/libtpm2_pkcs11.so|libtpm2-pkcs11-1' 'ls /usr/lib/*/libsoftokn3.so|libnss3' \
	'command -v pebble|pebble'

# Installs what is missing as root; anybody else is told the one line that does it.
define install_needs
	missing=()
	for need in $(1); do
		eval "$${need%|*}" >/dev/null 2>&1 || missing+=("$${need##*|}")
	done
	if (( $${#missing[@]} )); then
		if [[ $$(id -u) != 0 ]] || ! command -v apt-get >/dev/null; then
			echo "Some system packages are missing. Run this as root, then try again:" >&2
			echo "  apt-get update && apt-get install --yes --no-install-recommends $${missing[*]}" >&2
			exit 1
		fi
		echo "Installing $${missing[*]}"
		export DEBIAN_FRONTEND=noninteractive
		get() { apt-get install --quiet=2 --yes --no-install-recommends "$${missing[@]}" </dev/null >/dev/null; }
		get 2>/dev/null || { apt-get update --quiet=2; get; }
	fi
endef

help: ## this list
	@grep -E '^[a-z-]+:.*## ' Makefile | while IFS= read -r line; do
		printf '  make %-12s %s\n' "$${line%%:*}" "$${line#*## }"
	done
	echo "Settings: DATA=folder (now $(DATA)), LISTEN=host:port (now $(LISTEN)), PYTHON=program (now $(PYTHON))"

# The key says for what the environment was made: a second call with the same key has nothing to do.
install: ## SoftHSM, and .venv with sealward and the tools of development
	@$(PYTHON) -c 'import sys; sys.exit(sys.version_info < (3, 11))' ||
		{ echo "Python 3.11 or newer is needed: make $@ PYTHON=/path/to/it" >&2; exit 1; }
	key="$$(cat requirements.lock pyproject.toml | sha256sum) $$($(PYTHON) --version) $$PWD"
	$(call install_needs,$(SERVICE_NEEDS))
	if [[ -f .venv/installed && $$(< .venv/installed) == "$$key" ]]; then exit 0; fi
	if ! $(BIN)/python -c '' 2>/dev/null || ! grep -qF "$$PWD/.venv/" $(BIN)/pip; then
		echo "Making .venv"
		$(PYTHON) -m venv --clear .venv
	fi
	echo "Installing what requirements.lock names into .venv"
	$(PIP) install --require-hashes --requirement requirements.lock
	$(PIP) install --no-deps --no-build-isolation --editable .
	echo "$$key" > .venv/installed

test-needs: install
	@key="$$(sha256sum < requirements-interop.lock) $$(< .venv/installed)"
	$(call install_needs,$(TEST_NEEDS))
	if [[ ! -f .venv/test-needs || $$(< .venv/test-needs) != "$$key" ]]; then
		echo "Installing certbot, Caddy, hvac and OpenBao into .venv, for the tests alone"
		$(PIP) install --require-hashes --requirement requirements-interop.lock
		echo "$$key" > .venv/test-needs
	fi

run: install ## the service, in the foreground: `make run DATA=data LISTEN=127.0.0.1:8443`
	@exec $(BIN)/sealward dev --data "$(DATA)" --listen "$(LISTEN)"

# Every step runs, whatever the others say, and pytest comes last: its closing line ends a good run.
test: test-needs ## every check and test
	@export PATH="$$PWD/$(BIN):$$PATH"
	failed=()
	ruff check --quiet || failed+=("ruff check")
	ruff format --check --quiet || failed+=("ruff format --check")
	mypy --no-error-summary || failed+=(mypy)
	lint-imports >/dev/null || { lint-imports || true; failed+=(lint-imports); }
	if (( $${#failed[@]} )); then printf 'FAILED: %s\n' "$${failed[@]}"; fi
	pytest || failed+=(pytest)
	(( $${#failed[@]} == 0 ))

soak: test-needs ## the same tests at full counts (hours)
	@export PATH="$$PWD/$(BIN):$$PATH"
	SEALWARD_SOAK=1 exec pytest --timeout 14400

lint: install ## ruff, mypy and the import contracts
	@export PATH="$$PWD/$(BIN):$$PATH"
	ruff check
	ruff format --check
	mypy
	lint-imports

format: install ## let ruff put the code in form
	@$(BIN)/ruff check --fix-only --quiet
	$(BIN)/ruff format

docs: install ## run the commands that the docs show, and compare the reference pages with the code
	@export PATH="$$PWD/$(BIN):$$PATH"
	exec pytest -q tests/house/test_docs.py tests/house/test_reference.py

lock: ## choose the newest allowed versions again and write both lock files (UPGRADE= keeps the present ones)
	@[[ -x .venv-lock/bin/uv ]] || { $(PYTHON) -m venv .venv-lock && .venv-lock/bin/pip install --quiet "uv==$(UV_VERSION)"; }
	$(COMPILE) $(UPGRADE) --output-file requirements.lock pyproject.toml
	$(COMPILE) $(UPGRADE) --extra interop --constraint requirements.lock --output-file requirements-interop.lock pyproject.toml

clean: ## remove what was built; DATA stays
	@rm -rf .venv .venv-lock build dist ./*.egg-info .pytest_cache .mypy_cache .ruff_cache .hypothesis .import_linter_cache
	find . -name __pycache__ -type d -not -path './$(DATA)/*' -prune -exec rm -rf {} +
