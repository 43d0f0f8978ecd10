"""J12: what the project depends on is used, and what it uses it depends on."""

import sys
from importlib.metadata import packages_distributions

from packaging.utils import canonicalize_name

from tests.house.requirements import asked
from tests.house.tree import FOLDERS, PACKAGES, ROOT, imports, shipped

_STANDARD = frozenset(sys.stdlib_module_names)


def _imported() -> dict[str, set[str]]:
    """Return the distributions whose packages shipped code imports, each with the modules that do."""
    owners = packages_distributions()
    found: dict[str, set[str]] = {}
    for module in shipped():
        for top in {name.partition(".")[0] for name in imports(module)} - _STANDARD - set(PACKAGES):
            for owner in owners.get(top, [f"nobody brings {top}"]):
                found.setdefault(canonicalize_name(owner), set()).add(module.path)
    return found


def test_every_runtime_dependency_is_imported_by_shipped_code() -> None:
    """J12: a dependency that nothing imports is an attack surface without a use."""
    assert {canonicalize_name(item.name) for item in asked()} - _imported().keys() == set()


def test_shipped_code_imports_nothing_it_does_not_ask_for() -> None:
    """What another package happens to bring, or the tests need, may be gone tomorrow."""
    known = {canonicalize_name(item.name) for item in asked("postgres")}
    assert {name: paths for name, paths in _imported().items() if name not in known} == {}


def test_the_top_level_folders_are_there() -> None:
    """J12: pki, acme_server, cli, hsm, tests and docs."""
    assert [folder for folder in FOLDERS if not (ROOT / folder).is_dir()] == []


def test_jwks_and_thumbprints_are_josepy_s_after_our_own_parsing() -> None:
    """J12: one module of the ACME door hands keys to josepy, and only after it has parsed them strictly itself."""
    users = {module.name for module in shipped() if any(name.split(".")[0] == "josepy" for name in imports(module))}
    doors = {name for name in users if name.startswith("acme_server")}
    assert doors == {"acme_server.account_keys"}
