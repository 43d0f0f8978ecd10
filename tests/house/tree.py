"""The tree as the house tests see it: files, modules and functions, read and never imported."""

import ast
import subprocess
from collections.abc import Iterator
from dataclasses import dataclass
from functools import cache
from pathlib import Path

ROOT = Path(__file__).resolve().parents[2]
PACKAGES = ("hsm", "pki", "acme_server", "cli")
FOLDERS = (*PACKAGES, "tests", "docs")

Function = ast.FunctionDef | ast.AsyncFunctionDef


@dataclass(frozen=True)
class Module:
    """A Python file: its dotted name, its path from the root of the tree, its text and its syntax tree."""

    name: str
    path: str
    text: str
    tree: ast.Module

    @property
    def lines(self) -> int:
        """How many lines the file has."""
        return len(self.text.splitlines())

    def functions(self) -> Iterator[tuple[str, Function]]:
        """Yield every function with its dotted name, those within functions and classes too."""
        yield from _functions(self.name, self.tree)


def _functions(name: str, node: ast.AST) -> Iterator[tuple[str, Function]]:
    for child in ast.iter_child_nodes(node):
        inner = f"{name}.{child.name}" if isinstance(child, (Function, ast.ClassDef)) else name
        if isinstance(child, Function):
            yield inner, child
        yield from _functions(inner, child)


def length(function: Function) -> int:
    """Return how many lines a function has, from `def` to its end, decorators left out."""
    return (function.end_lineno or function.lineno) - function.lineno + 1


@cache
def modules(*folders: str) -> tuple[Module, ...]:
    """Return the modules below `folders`, by path."""
    found = []
    for path in sorted(path for folder in folders for path in (ROOT / folder).rglob("*.py")):
        relative = path.relative_to(ROOT)
        name = ".".join(relative.with_suffix("").parts).removesuffix(".__init__")
        text = path.read_text(encoding="utf-8")
        found.append(Module(name, str(relative), text, ast.parse(text, str(relative))))
    return tuple(found)


def shipped() -> tuple[Module, ...]:
    """Return the modules that the wheel holds."""
    return modules(*PACKAGES)


@cache
def committed() -> tuple[Path, ...]:
    """Return every file that is, or would be, committed."""
    listing = subprocess.run(
        ["git", "ls-files", "-z", "--cached", "--others", "--exclude-standard"],
        cwd=ROOT,
        capture_output=True,
        text=True,
        check=True,
    ).stdout
    return tuple(ROOT / name for name in sorted(filter(None, listing.split("\0"))) if (ROOT / name).is_file())


def imports(module: Module) -> set[str]:
    """Return the dotted names of everything that a module imports, absolutely."""
    found: set[str] = set()
    for node in ast.walk(module.tree):
        if isinstance(node, ast.Import):
            found |= {alias.name for alias in node.names}
        elif isinstance(node, ast.ImportFrom) and node.module and not node.level:
            found |= {node.module, *(f"{node.module}.{alias.name}" for alias in node.names)}
    return found
