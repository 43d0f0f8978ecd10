"""Everything that is installed may be used beside, and shipped with, software under Apache-2.0."""

import re
from importlib.metadata import Distribution, distributions

from packaging.utils import canonicalize_name

from tests.house.requirements import pins, runtime_closure
from tests.house.tree import ROOT

ALLOWED = {
    *("Apache-2.0", "Apache Software License"),
    *("MIT", "MIT-0", "MIT License"),
    *("BSD", "BSD License", "BSD-2-Clause", "BSD-3-Clause"),
    *("ISC", "PSF-2.0", "Public Domain"),
}
"""Permissive: they ask for their notice and nothing of our own code."""

EXCEPTIONS = {
    "certifi": "MPL-2.0, for its files alone: used unchanged, for requests in the tests",
    "hypothesis": "MPL-2.0, for its files alone: used unchanged, in the tests",
    "orjson": "MPL-2.0 AND (Apache-2.0 OR MIT): the MPL part is used unchanged",
    "pathspec": "MPL-2.0, for its files alone: used unchanged, by mypy",
    "psycopg": "LGPL-3.0: a library of its own, replaceable by whoever installs it, and optional",
    "psycopg-binary": "LGPL-3.0: as psycopg, with the libraries it brings under their own permissive licences",
    "publicsuffixlist": "MPL-2.0, for its files alone: used unchanged, through pkilint",
}


def _licence(item: Distribution) -> str:
    classifiers = [text for text in item.metadata.get_all("Classifier") or () if text.startswith("License ::")]
    named = [
        text.rpartition(" :: ")[2] for text in classifiers if not text.endswith((" OSI Approved", " DFSG approved"))
    ]
    return item.metadata["License-Expression"] or " AND ".join(named) or (item.metadata["License"] or "").strip()


def _is_allowed(expression: str) -> bool:
    """Whether every part of an SPDX expression, or of a list of classifiers, offers an allowed licence."""
    return all(
        any(choice.strip(" ()") in ALLOWED for choice in part.split(" OR ")) for part in expression.split(" AND ")
    )


def _installed() -> dict[str, str]:
    """Return the licence of each installed distribution that a lock file brought."""
    locked = pins("requirements-interop.lock")
    found = {canonicalize_name(item.metadata["Name"]): _licence(item) for item in distributions()}
    return {name: licence for name, licence in found.items() if name in locked}


def test_every_licence_is_compatible_or_explained() -> None:
    """A licence that is neither on the list nor an exception with its reason is read by a person first."""
    strange = {name: licence for name, licence in _installed().items() if not _is_allowed(licence)}
    assert {name: licence for name, licence in strange.items() if name not in EXCEPTIONS} == {}


def test_nothing_shipped_is_under_a_strong_copyleft() -> None:
    """What the service needs installed is never GPL or AGPL; psycopg is LGPL and optional."""
    licences = {name: licence for name, licence in _installed().items() if name in runtime_closure()}
    assert len(licences) > 15
    assert {name: text for name, text in licences.items() if re.search(r"(?<!L)GPL", text) and "LGPL" not in text} == {}


def test_an_exception_is_for_something_that_is_locked() -> None:
    """An exception for what is no longer used would be an open door."""
    assert [name for name in EXCEPTIONS if name not in pins("requirements-interop.lock")] == []


def test_the_licence_is_apache_2_0_in_full() -> None:
    """The whole text stands in LICENSE, appendix and all."""
    text = (ROOT / "LICENSE").read_text(encoding="utf-8")
    assert "Version 2.0, January 2004" in text
    assert "APPENDIX: How to apply the Apache License to your work." in text
