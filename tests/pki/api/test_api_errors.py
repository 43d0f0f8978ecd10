"""The one table that turns the house's errors into answers of the HTTP API."""

import pytest

from hsm.errors import HsmStuck
from pki import errors
from pki.api.errors import TRANSLATIONS, refuse
from pki.errors import DatabaseUnavailable, Denied, Malformed, RateLimited, Rejected, Sealed, SealwardError


class _Special(Malformed):
    """A class below one that the table holds."""


def test_every_class_has_a_line() -> None:
    """An error without one would be a bare 500."""
    known = {item for item in vars(errors).values() if isinstance(item, type) and issubclass(item, SealwardError)}
    assert set(TRANSLATIONS) == known - {SealwardError}


@pytest.mark.parametrize(
    ("error", "status", "code"),
    [
        (Malformed("m"), 400, "malformed"),
        (_Special("m"), 400, "malformed"),
        (Denied("d"), 403, "denied"),
        (Rejected("r", "badCSR"), 400, "rejected"),
        (RateLimited("slow down", retry_after=7), 429, "rate_limited"),
        (Sealed("s"), 503, "sealed"),
        (DatabaseUnavailable("disk of db7 is full"), 503, "unavailable"),
        (HsmStuck("slot 3 hangs"), 503, "unavailable"),
        (KeyError("hunter2"), 500, "internal"),
        (SealwardError("no meaning"), 500, "internal"),
    ],
)
def test_a_class_has_one_status_and_one_code(error: Exception, status: int, code: str) -> None:
    """By its nearest line; an error of the HSM is the HSM's failure, what has no line a bare 500."""
    refusal = refuse(error)
    assert (refusal.status, refusal.code) == (status, code)


@pytest.mark.parametrize(
    "error", [DatabaseUnavailable("disk of db7 is full"), HsmStuck("slot 3 hangs"), KeyError("hunter2")]
)
def test_what_only_the_operator_should_read_is_not_told(error: Exception) -> None:
    """L1: paths, hosts, slots and values of exceptions stay in the log."""
    body = refuse(error).body("id")
    assert not any(word in body for word in (b"db7", b"slot", b"hunter2"))
    assert b'"advice"' in body


def test_waiting_is_advised_where_it_helps() -> None:
    """429 says how long (RFC 6585 4), 503 a few seconds; a refusal says nothing of the kind."""
    refusals = [refuse(item) for item in (RateLimited("r", retry_after=7), Sealed("s"), Malformed("m"))]
    assert [refusal.retry_after for refusal in refusals] == [7, 5, None]


def test_a_stranger_is_told_to_log_in_by_code() -> None:
    """403 in both cases, since clients know no 401; the code tells them apart."""
    assert [refuse(Denied("d"), authenticated=known).code for known in (True, False)] == ["denied", "unauthenticated"]
