"""Errors are classes by meaning; each door turns every one of them into its own dialect by one table."""

from collections.abc import Iterator, Mapping
from typing import Any

import pytest

from acme_server.problems import TRANSLATIONS
from hsm import errors as hsm_errors
from pki import errors
from pki.api.errors import TRANSLATIONS as API_TRANSLATIONS
from tests.house.tree import modules

DIALECTS: Mapping[str, Mapping[type[errors.SealwardError], Any]] = {
    "ACME (RFC 8555 6.7)": TRANSLATIONS,
    "HTTP API": API_TRANSLATIONS,
}
"""A new door adds its table here."""


def _descendants(parent: type[Exception]) -> Iterator[type[Exception]]:
    for child in parent.__subclasses__():
        yield child
        yield from _descendants(child)


@pytest.mark.parametrize("dialect", DIALECTS)
def test_every_error_has_a_line_in_every_dialect(dialect: str) -> None:
    """An error without a line would be a bare 500; the table and pki/errors.py hold the same classes."""
    known = {error for error in _descendants(errors.SealwardError) if error.__module__ == errors.__name__}
    assert set(DIALECTS[dialect]) == known


def test_rooms_know_no_http() -> None:
    """No error carries an HTTP status: what it is on the wire is the door's to say."""
    rooms = [
        module
        for module in modules("pki", "hsm")
        if not module.name.startswith("pki.api") and ("HTTPStatus" in module.text or "http.client" in module.text)
    ]
    assert [module.path for module in rooms] == []


def test_every_error_says_what_it_means() -> None:
    """A class of error has a docstring: it is what whoever raises it chooses by."""
    everything = [*_descendants(errors.SealwardError), *_descendants(hsm_errors.HsmError)]
    assert [error.__name__ for error in everything if not error.__doc__] == []
