"""G18: what the docs tell people to do can be done: links lead somewhere, commands exist, marked blocks run."""

import re
import tomllib
from functools import cache
from pathlib import Path

import pytest

from pki import config
from tests.house.pages import Page, pages, target
from tests.house.programs import run, run_any
from tests.house.tree import ROOT

EVERY_PAGE = pytest.mark.parametrize("page", pages(), ids=lambda page: page.path)
RUNNABLE = [page for page in pages() if page.blocks("sh test")]


@EVERY_PAGE
def test_every_link_leads_somewhere(page: Page) -> None:
    """A relative link names a file of the tree."""
    links = [link for link in re.findall(r"\]\(([^)\s]+)\)", page.prose) if "://" not in link and link[0] != "#"]
    assert [link for link in links if not target(page, link).exists()] == []


@EVERY_PAGE
def test_every_make_target_exists(page: Page) -> None:
    """`make NAME` in a page is a target of the Makefile."""
    targets = set(re.findall(r"^([a-z][a-z-]*):", (ROOT / "Makefile").read_text(encoding="utf-8"), re.MULTILINE))
    assert {words[0] for words in page.commands("make")} - targets == set()


def test_every_sealward_command_in_the_docs_exists() -> None:
    """`sealward NAME --option` in a page is known to the command's own help."""
    unknown = [
        f"{page.path}: sealward {' '.join(words)}"
        for page in pages()
        for words in page.commands("sealward")
        if not _is_known(words)
    ]
    assert unknown == []


def _is_known(words: list[str]) -> bool:
    names: list[str] = []
    for word in words:
        if not re.fullmatch(r"[a-z][a-z-]*", word):
            break
        names.append(word)
    help_text = _help(*names)
    options = {word.partition("=")[0] for word in words[len(names) :] if word.startswith("--")}
    return bool(help_text) and options <= set(re.findall(r"--[a-z-]+", help_text))


@cache
def _help(*names: str) -> str:
    result = run("sealward", *names, "--help")
    return result.stdout if result.returncode == 0 else ""


@EVERY_PAGE
def test_every_configuration_shown_is_valid(page: Page, tmp_path: Path) -> None:
    """A TOML block is a configuration that `sealward check-config` would read."""
    read = [config.parse(tomllib.loads(text), tmp_path) for text in page.blocks("toml")]
    assert all(isinstance(item, config.Config) for item in read)


@EVERY_PAGE
def test_no_placeholder_is_left(page: Page) -> None:
    """What stands as @NAME@ waits for a measured figure."""
    assert re.findall(r"@[A-Z_]{3,}@", page.text) == []


@pytest.mark.parametrize("page", RUNNABLE, ids=lambda page: page.path)
def test_the_marked_blocks_of_a_page_run(page: Page, tmp_path: Path) -> None:
    """The blocks marked `sh test` are run in order, as one script, in an empty folder that is also the home."""
    script = "set -euo pipefail\n" + "\n".join(page.blocks("sh test"))
    result = run_any(["bash", "-c", script], cwd=tmp_path, timeout=120, home=tmp_path)
    assert result.returncode == 0, f"{result.stdout}\n{result.stderr}"
