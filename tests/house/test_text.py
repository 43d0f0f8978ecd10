"""What the text of the tree must not hold, and what its docstrings must."""

import ast
import re
from collections.abc import Iterator

from tests.house.tree import ROOT, Function, Module, committed, shipped

NOTES = re.compile(r"\b(?:TO" r"DO|FIX" r"ME|XX" r"X|HA" r"CK)\b")
MACHINE_PATHS = re.compile(r"(?<![\w.~-])/(?:work|root|home|Users)/[\w.]")
REGISTRIES = re.compile(r"pypi\.org|pythonhosted|registry\.npm|deb\.debian|index[-_]url", re.IGNORECASE)


def _lines(pattern: re.Pattern[str]) -> list[str]:
    found = []
    for path in committed():
        try:
            text = path.read_text(encoding="utf-8")
        except UnicodeDecodeError:
            continue
        if path.name in {"LICENSE", "test_text.py", "Makefile"} and pattern is REGISTRIES:
            continue
        if path.name == "test_text.py":
            continue
        for number, line in enumerate(text.splitlines(), 1):
            if pattern.search(line):
                found.append(f"{path.relative_to(ROOT)}:{number}: {line.strip()[:100]}")
    return found


def test_no_note_to_self_is_committed() -> None:
    """What is left to do is an issue; in the tree it would be forgotten."""
    assert _lines(NOTES) == []


def test_no_path_of_one_machine_is_committed() -> None:
    """The tree works in any folder, for any user."""
    assert _lines(MACHINE_PATHS) == []


def test_no_registry_is_named() -> None:
    """Where packages come from is the machine's setting: a mirror must do as well."""
    assert _lines(REGISTRIES) == []


def _public(node: ast.AST, *, within: bool) -> Iterator[ast.AST]:
    for child in ast.iter_child_nodes(node):
        if not isinstance(child, (Function, ast.ClassDef)):
            continue
        if child.name.startswith("_") and not child.name.endswith("__"):
            continue
        if child.name != "__init__":  # the class's docstring describes it
            yield child
        if isinstance(child, ast.ClassDef):
            yield from _public(child, within=within)


def _documented(module: Module) -> list[bool]:
    nodes = [module.tree, *_public(module.tree, within=True)] if module.text.strip() else []
    return [bool(ast.get_docstring(node)) for node in nodes]  # type: ignore[arg-type]


def test_public_names_are_documented() -> None:
    """Nine in ten public modules, classes and functions say what they are and why."""
    documented = [item for module in shipped() for item in _documented(module)]
    assert sum(documented) >= 0.9 * len(documented)


def test_every_function_says_what_it_returns() -> None:
    """Return types stand everywhere, in private functions too."""
    missing = [name for module in shipped() for name, function in module.functions() if function.returns is None]
    assert missing == []
