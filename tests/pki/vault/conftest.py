"""Secrets over a founded house, and a mount to keep them in."""

import pytest

from pki.core import Core
from pki.mounts import Mount
from pki.vault.secrets import Secrets


def open_secrets(core: Core) -> Secrets:
    """Return the room over an opened house."""
    return Secrets(core.database, core.clock, core.ids, core.keyring, core.service_keys.get("kv paths"))


def a_mount(name: str = "secret") -> Mount:
    """Return a mount, made anew under that name."""
    return Mount(f"id{name}", "root", f"{name}/", "secret", "kv", options={"version": "2"})


@pytest.fixture
def mount() -> Mount:
    """Give a mount that nothing was written to."""
    return a_mount()


@pytest.fixture
def secrets(core: Core) -> Secrets:
    """Give the room on each database."""
    return open_secrets(core)
