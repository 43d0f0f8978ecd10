"""The reference pages say what the code does: every key, its default and its bounds."""

import re
from collections.abc import Mapping
from dataclasses import fields
from pathlib import Path
from typing import Any

import pytest

from pki import config
from tests.house.tree import ROOT

PAGE = (ROOT / "docs/reference/configuration.md").read_text(encoding="utf-8")
_BOUNDS = re.compile(r"^(?P<low>[\d.]+) to (?P<high>[\d.]+)$")


def _rows(section: str) -> dict[str, tuple[str, str]]:
    """Return the default and the bounds of each key that the page's section documents."""
    text = PAGE.partition(f"\n## [{section}]\n")[2].partition("\n## ")[0]
    rows = [[cell.strip() for cell in line.strip("|").split("|")] for line in text.splitlines() if line[:3] == "| `"]
    return {key.strip("`"): (default.strip("`"), bounds) for key, default, bounds, meaning in rows if meaning}


SECTIONS: Mapping[str, Mapping[str, Any]] = config._KEYS
KEYS = [(section, key) for section, keys in SECTIONS.items() for key in keys]


def _toml(value: object) -> str:
    if value is None:
        return "none"
    if isinstance(value, bool):
        return str(value).lower()
    if isinstance(value, (str, Path, config.Endpoint)):
        return f'"{value}"'
    return "[]" if value == () else str(value)


def test_every_section_has_its_table() -> None:
    """No section is left out, and none is described that is gone."""
    assert re.findall(r"^## \[(.+)\]$", PAGE, re.MULTILINE) == list(SECTIONS)


@pytest.mark.parametrize("section", SECTIONS)
def test_every_key_has_its_row(section: str) -> None:
    """The keys of the page and of pki/config.py are the same."""
    assert _rows(section).keys() == SECTIONS[section].keys()


@pytest.mark.parametrize("section", SECTIONS)
def test_every_default_is_the_code_s(section: str) -> None:
    """Defaults are compared as TOML writes them."""
    made = {field.name: getattr(config._TYPES[section](), field.name) for field in fields(config._TYPES[section])}
    documented = {key: default for key, (default, _) in _rows(section).items()}
    assert documented == {key: _toml(made[key]) for key in SECTIONS[section]}


@pytest.mark.parametrize(("section", "key"), KEYS)
def test_every_bound_is_the_code_s(section: str, key: str) -> None:
    """The two ends are taken, what lies beyond either is refused, and a key without bounds takes no number."""
    parse = SECTIONS[section][key]
    bounds = _BOUNDS.match(_rows(section)[key][1])
    if bounds is None:
        with pytest.raises(ValueError, match="must be"):
            parse(7)
        return
    low, high = ((float if "." in end else int)(end) for end in bounds.groups())
    assert (parse(low), parse(high)) == (low, high)
    for beyond in (low - 1, high + 1):
        with pytest.raises(ValueError, match="must be"):
            parse(beyond)
