"""The threat model names tests that exist: a control whose test is gone is a claim."""

import ast
import re

from tests.house.tree import ROOT

_PAGE = ROOT / "docs/explanation/trust-and-threats.md"
_NAMED = re.compile(r"`(tests/[a-z0-9_/]+\.py)(?:::(test_[a-z0-9_]+))?`")


def _missing(path: str, name: str) -> bool:
    file = ROOT / path
    if not file.is_file():
        return True
    functions = {node.name for node in ast.walk(ast.parse(file.read_text())) if isinstance(node, ast.FunctionDef)}
    return bool(name) and name not in functions


def test_every_test_that_the_threat_model_names_is_there() -> None:
    """Threat, control, test: the third column is checked."""
    named = _NAMED.findall(_PAGE.read_text())
    assert len(named) >= 30
    assert [f"{path}::{name}" for path, name in named if _missing(path, name)] == []


def test_every_threat_names_a_test() -> None:
    """A control that nothing tries is not listed as one."""
    rows = [line for line in _PAGE.read_text().splitlines() if line.startswith("| ") and line.count("|") == 4]
    assert [row for row in rows if "---" not in row and "threat |" not in row and not _NAMED.search(row)] == []
