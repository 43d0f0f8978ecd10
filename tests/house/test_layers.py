"""The layering contracts of pyproject.toml hold."""

import ast
import re

from tests.house.programs import run
from tests.house.tree import Module, shipped


def test_every_contract_is_kept() -> None:
    """DESIGN's directions: doors on rooms, rooms on the cellar, each room on those below it."""
    result = run("lint-imports", "--no-cache")
    assert result.returncode == 0, result.stdout[-4000:] + result.stderr[-4000:]
    assert re.search(r"Contracts: [6-9]\d* kept, 0 broken", result.stdout)


def _late_imports(module: Module) -> set[str]:
    return {
        f"{module.path}:{node.lineno}"
        for _, function in module.functions()
        for node in ast.walk(function)
        if isinstance(node, (ast.Import, ast.ImportFrom))
    }


def test_no_import_hides_in_a_function() -> None:
    """An import within a function escapes a cycle instead of ending it."""
    assert [place for module in shipped() for place in sorted(_late_imports(module))] == []
