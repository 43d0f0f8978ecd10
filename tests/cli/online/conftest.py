"""Fixtures of the online commands' tests: a running service and somebody who may do everything."""

from pathlib import Path

import pytest

from tests.cli.online.people import Person, person_of
from tests.service import Service


@pytest.fixture(scope="module")
def administrator(service: Service, tmp_path_factory: pytest.TempPathFactory) -> Person:
    """One who has logged in by the bootstrap token."""
    person = person_of(service, tmp_path_factory.mktemp("people") / "administrator")
    person.logs_in(service.ready["token"])
    return person


@pytest.fixture
def somebody(service: Service, tmp_path: Path) -> Person:
    """One who has not logged in."""
    return person_of(service, tmp_path / "somebody")
