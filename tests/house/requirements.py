"""What pyproject.toml asks for, what the lock files pin, and what is installed."""

import re
import tomllib
from functools import cache
from importlib.metadata import distributions
from typing import Any

from packaging.markers import default_environment
from packaging.requirements import Requirement
from packaging.utils import canonicalize_name
from packaging.version import Version

from tests.house.tree import ROOT

_PIN = re.compile(r"^(?P<name>[A-Za-z0-9_.-]+)(?P<extras>\[[^]]*\])?==(?P<version>[^\s;]+)(?P<marker> *;[^\\]*)?")


@cache
def project() -> dict[str, Any]:
    """Return the `[project]` table of pyproject.toml."""
    document = tomllib.loads((ROOT / "pyproject.toml").read_text(encoding="utf-8"))
    table: dict[str, Any] = document["project"]
    return table


def asked(*extras: str) -> list[Requirement]:
    """Return the run-time requirements, and those of `extras`."""
    texts = [*project()["dependencies"]]
    for extra in extras:
        texts += project()["optional-dependencies"][extra]
    return [Requirement(text) for text in texts]


def pins(lock: str) -> dict[str, tuple[Version, int]]:
    """Return each pinned distribution of a lock file: its version, and how many hashes are allowed."""
    found: dict[str, tuple[Version, int]] = {}
    for entry in (ROOT / lock).read_text(encoding="utf-8").replace("\\\n", " ").splitlines():
        if pin := _PIN.match(entry):
            found[canonicalize_name(pin["name"])] = (Version(pin["version"]), entry.count("--hash=sha256:"))
    return found


def runtime_closure() -> set[str]:
    """Return the distributions that the service needs installed, by name: the requirements and theirs."""
    installed = {canonicalize_name(item.metadata["Name"]): item for item in distributions()}
    waiting, seen = asked("postgres"), set[str]()
    while waiting:
        requirement = waiting.pop()
        name = canonicalize_name(requirement.name)
        environments = [{**default_environment(), "extra": extra} for extra in (*requirement.extras, "")]
        if name in seen or name not in installed:
            continue
        seen.add(name)
        for inner in map(Requirement, installed[name].requires or ()):
            if inner.marker is None or any(inner.marker.evaluate(item) for item in environments):  # type: ignore[arg-type]
                waiting.append(inner)
    return seen
