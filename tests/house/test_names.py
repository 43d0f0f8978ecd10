"""Names: of folders, of files, of tests, and the words with one meaning (docs/glossary.md)."""

import ast
import re

import pytest

from tests.house.tree import FOLDERS, ROOT, Function, Module, committed, modules, shipped

FORBIDDEN_FILES = {"utils", "util", "helpers", "helper", "common", "misc", "shared", "base", "stuff"}
TOP = {
    *FOLDERS,
    ".ci",
    ".gitattributes",
    ".gitignore",
    "LICENSE",
    "Makefile",
    "README.md",
    "pyproject.toml",
    "requirements.lock",
    "requirements-interop.lock",
}
FORBIDDEN_WORDS = {
    r"master[ _-]?keys?": "KEK or DEK",
    r"plugins?": "engine, mount or auth method",
    r"whitelist|blacklist": "allow-list, blocked keys",
    r"pkcs ?#?11 token's user": "principal",
}


def test_the_top_of_the_tree_is_fixed() -> None:
    """J12: the folders at the top are these, and nothing else is committed there."""
    assert {path.relative_to(ROOT).parts[0] for path in committed()} == TOP


def test_no_file_is_named_for_nothing() -> None:
    """A file is named by its subject: utils, helpers, common and misc are no subjects."""
    assert [module.path for module in modules(*FOLDERS) if module.name.rpartition(".")[2] in FORBIDDEN_FILES] == []


def test_every_folder_of_code_is_a_package() -> None:
    """Without tests/__init__.py, `import pki` would find tests/pki; so every folder with Python has its __init__.py."""
    folders = {path.parent for path in committed() if path.suffix == ".py"}
    assert [str(folder.relative_to(ROOT)) for folder in folders if not (folder / "__init__.py").exists()] == []


@pytest.mark.parametrize("word", FORBIDDEN_WORDS)
def test_a_word_that_means_something_else_is_not_used(word: str) -> None:
    """One word, one meaning: the glossary's own word stands in place of these."""
    pattern = re.compile(rf"\b(?:{word})\b", re.IGNORECASE)
    assert [module.path for module in shipped() if pattern.search(module.text)] == [], FORBIDDEN_WORDS[word]


def test_sessions_are_the_hsm_s_alone() -> None:
    """A session is PKCS#11's; the database has transactions, called tx."""
    functions = [(module.path, function) for module in shipped() for _, function in module.functions()]
    outside = [(path, function) for path, function in functions if not path.startswith("hsm/")]
    assert [f"{path}:{function.lineno}" for path, function in outside if "session" in _parameters(function)] == []


def _parameters(function: Function) -> set[str]:
    arguments = function.args
    return {argument.arg for argument in (*arguments.posonlyargs, *arguments.args, *arguments.kwonlyargs)}


def _tests() -> list[tuple[Module, Function]]:
    found = []
    for module in modules("tests"):
        if module.name.rpartition(".")[2].startswith("test_"):
            found += [(module, function) for _, function in module.functions() if function.name.startswith("test_")]
    return found


def test_tests_are_named_by_sentences() -> None:
    """A test's name says what holds: three words at least after `test_`."""
    short = [f"{module.path}:{test.lineno} {test.name}" for module, test in _tests() if test.name.count("_") < 3]
    assert short == []


def test_every_test_states_its_rule() -> None:
    """A test's docstring is one sentence that says the rule."""
    assert [
        f"{module.path}:{test.lineno} {test.name}" for module, test in _tests() if not ast.get_docstring(test)
    ] == []


def test_every_test_asserts_something() -> None:
    """A test without an assertion proves that nothing was raised, and looks like more."""
    assert [f"{module.path}:{test.lineno} {test.name}" for module, test in _tests() if not _asserts(module, test)] == []


def _asserts(module: Module, test: Function) -> bool:
    """Whether the test, or a function of its module that it calls, asserts or expects something."""
    named = {name.rpartition(".")[2]: function for name, function in module.functions()}
    called = {node.id for node in ast.walk(test) if isinstance(node, ast.Name)}
    bodies = [test, *(function for name, function in named.items() if name in called)]
    return any(_is_assertion(node) for body in bodies for node in ast.walk(body))


def _is_assertion(node: ast.AST) -> bool:
    if isinstance(node, ast.Raise):
        return node.exc is not None and "AssertionError" in ast.unparse(node.exc)
    if isinstance(node, ast.Call):
        return ast.unparse(node.func) in {"pytest.raises", "pytest.warns", "pytest.fail"}
    return isinstance(node, ast.Assert)
