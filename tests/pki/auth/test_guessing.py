"""Somebody who guesses passwords: how often he may, what he gets to know, and what he costs."""

import gc
import statistics
import time
from collections.abc import Callable
from contextlib import closing
from datetime import timedelta
from typing import Any, TypeVar

import pytest

from pki.identity.users import FAILURES, WINDOW
from pki.storage.database import Database, Tx
from tests.counts import count
from tests.pki.auth.house import House, together

PASSWORD = "correct horse battery"  # noqa: S105 - it opens nothing but these tests' house
USER = "userpass/users/alice"
LOGIN = "userpass/login/alice"
INVALID = "invalid username or password"
MINUTE = timedelta(minutes=1)
T = TypeVar("T")


@pytest.fixture
def house(auth: House) -> House:
    """Give a house with the user alice."""
    assert auth.ask("POST", USER, {"password": PASSWORD})[0] == 204
    return auth


def _try(house: House, password: str = PASSWORD, name: str = "alice", **more: Any) -> tuple[int, Any]:
    return house.log_in(f"userpass/login/{name}", {"password": password}, **more)


def _fail(house: House, times: int = FAILURES) -> None:
    for number in range(times):
        assert _try(house, f"wrong {number}")[0] == 400


# Lock-out


def test_after_five_failures_no_password_is_right(house: House) -> None:
    """C01: for a quarter of an hour, and the right one does not tell itself apart."""
    _fail(house)
    assert _try(house)[1]["errors"] == [INVALID]
    house.clock.advance(WINDOW - MINUTE)
    assert _try(house)[0] == 400
    house.clock.advance(MINUTE)
    assert _try(house)[0] == 200


def test_attempts_on_a_locked_user_do_not_lock_it_for_longer(house: House) -> None:
    """Somebody who goes on guessing shuts nobody out for ever."""
    _fail(house)
    for _ in range(14):
        house.clock.advance(MINUTE)
        assert _try(house, "wrong")[0] == 400
    house.clock.advance(MINUTE)
    assert _try(house)[0] == 200


def test_a_lock_is_followed_by_five_new_tries(house: House) -> None:
    """What was counted before is forgotten."""
    _fail(house)
    house.clock.advance(WINDOW)
    _fail(house, FAILURES - 1)
    assert _try(house)[0] == 200


def test_a_success_forgets_the_failures_before_it(house: House) -> None:
    """Four mistypings a day lock nobody out."""
    for _ in range(3):
        _fail(house, FAILURES - 1)
        assert _try(house)[0] == 200


def test_failures_far_apart_do_not_add_up(house: House) -> None:
    """One that is a quarter of an hour old is forgotten."""
    for _ in range(2 * FAILURES):
        _fail(house, 1)
        house.clock.advance(WINDOW)
    assert _try(house)[0] == 200


@pytest.mark.parametrize("path", [USER, f"{USER}/password"])
def test_an_administrator_ends_a_lock_with_a_new_password(house: House, path: str) -> None:
    """A change that sets none does not."""
    _fail(house)
    house.ask("POST", USER, {"token_ttl": "1h"})
    assert _try(house)[0] == 400
    house.ask("POST", path, {"password": "another good one"})
    assert _try(house, "another good one")[0] == 200


def test_all_workers_count_together_and_a_restart_forgets_nothing(house: House, migrated_url: str) -> None:
    """The failures are in the user's row."""
    _fail(house, FAILURES - 2)
    with closing(Database.open(migrated_url)) as database:
        _fail(House(database, house.clock), 2)
    with closing(Database.open(migrated_url)) as database:
        assert _try(House(database, house.clock))[0] == 400


def test_of_many_guesses_at_once_only_the_first_five_count(house: House) -> None:
    """C01: guessing in parallel gives no more guesses; the right one after them is wrong."""
    assert [status for status, _ in together(20, lambda number: _try(house, f"wrong {number}"))] == [400] * 20
    assert _try(house)[0] == 400
    reasons = [detail["reason"] for _, _, detail in house.events("userpass.login") if "reason" in detail]
    assert reasons.count("wrong password") == FAILURES
    assert reasons.count("locked out") == 16


def test_the_right_password_among_many_at_once_never_comes_after_five(house: House) -> None:
    """An attempt is judged in the transaction that ends it, after those that were judged before."""
    together(12, lambda number: _try(house, PASSWORD if number == 6 else f"wrong {number}"))
    events = [detail for _, _, detail in house.events("userpass.login") if detail.get("reason") or "accessor" in detail]
    wrong = [detail["failures"] for detail in events if detail.get("reason") == "wrong password"]
    succeeded = any("accessor" in detail for detail in events)
    assert max(wrong) <= FAILURES
    assert len(wrong) <= (2 * FAILURES - 1 if succeeded else FAILURES)


# What strangers may cost, and get to know


def test_every_failure_has_the_same_answer(house: House) -> None:
    """A2: of a wrong password, of no such user, of a name that can be none, and of a user who is locked out."""
    _fail(house)
    answers = [_try(house), _try(house, "x"), _try(house, name="nobody"), _try(house, name="ALICE")]
    bodies = [{name: value for name, value in body.items() if name != "request_id"} for _, body in answers]
    assert {status for status, _ in answers} == {400}
    assert bodies == [bodies[0]] * len(bodies)
    assert bodies[0]["errors"] == [INVALID]


def test_passwords_in_too_great_a_number_are_put_off(house: House) -> None:
    """D3: hashing takes a bounded part of the machine; who comes then is told when to come again."""
    narrow = House(house.database, house.clock, waiting=1)
    answers = together(12, lambda _: narrow.send("POST", LOGIN, {"password": PASSWORD}))
    assert {answer.status for answer in answers} == {200, 429}
    assert {answer.retry_after for answer in answers if answer.status == 429} == {1}
    assert narrow.log_in(LOGIN, {"password": PASSWORD})[0] == 200


def test_an_unknown_user_takes_as_much_work_as_a_wrong_password(house: House) -> None:
    """A2: in processor time, which other programs do not disturb; and so does one who is locked out.

    Taken in turn, so that whatever slows the machine down slows all of them. Alice is never locked out here.
    """
    kinds = ("wrong", "unknown", "locked", "no name")
    names = {"wrong": "alice", "unknown": "nobody", "locked": "bob", "no name": "No/Name"}
    house.ask("POST", "userpass/users/bob", {"password": PASSWORD})
    for _ in range(FAILURES):
        _try(house, "wrong", "bob")
    taken: dict[str, list[float]] = {kind: [] for kind in kinds}
    gc.disable()
    try:
        for number in range(count(40, 500)):
            for kind in kinds[number % 4 :] + kinds[: number % 4]:
                if kind == "wrong" and number % 4 == 0:
                    house.ask("POST", f"{USER}/password", {"password": PASSWORD})
                begun = time.thread_time()
                assert _try(house, "wrong", names[kind])[0] == 400
                taken[kind].append(time.thread_time() - begun)
    finally:
        gc.enable()
    medians = {kind: statistics.median(times) for kind, times in taken.items()}
    assert max(medians.values()) / min(medians.values()) < 1 + count(5, 1) / 100, medians


class Counting(Database):
    """Counts what is written."""

    writes = 0

    def write(self, work: Callable[[Tx], T]) -> T:
        """Count it, and write."""
        self.writes += 1
        return super().write(work)


def test_every_failure_commits_as_often(house: House, migrated_url: str) -> None:
    """A2: what waits for the disk waits as often, whoever the user is."""
    seen = []
    with closing(Counting.open(migrated_url)) as database:
        other = House(database, house.clock)
        for name in ("alice", "nobody", "No/Name"):
            database.writes = 0
            assert _try(other, "wrong", name)[0] == 400
            seen.append(database.writes)
    assert seen == [2, 2, 2]  # the attempt with its event, and the request's


def test_the_log_tells_who_failed_and_why(house: House) -> None:
    """A user that there is by name, with what the answer keeps to itself; a success by its token's accessor."""
    _fail(house)
    _try(house, name="nobody")
    _try(house, remote="192.0.2.9")
    told = [
        (about, outcome, detail["reason"], detail["remote"])
        for about, outcome, detail in house.events("userpass.login")
        if "reason" in detail
    ]
    alice = "auth/userpass/login/alice"
    assert told.count((alice, "refused", "wrong password", "127.0.0.1")) == FAILURES
    assert (alice, "refused", "locked out", "192.0.2.9") in told
    assert ("auth/userpass/login", "refused", "unknown user", "127.0.0.1") in told
    house.clock.advance(WINDOW)
    accessor = _try(house)[1]["auth"]["accessor"]
    succeeded = [found for found in house.events("userpass.login") if found[1] == "success"]
    assert [(about, detail["accessor"]) for about, _, detail in succeeded] == [(alice, accessor)]


@pytest.mark.parametrize("typed", ["hunter2-is-my-password", "Hunter2/Password", "p\N{SNOWMAN}ssword marker"])
def test_a_password_typed_as_a_name_is_recorded_nowhere(
    house: House, typed: str, caplog: pytest.LogCaptureFixture
) -> None:
    """H09 L1: it happens to everybody once."""
    _try(house, name=typed)
    house.log_in(f"userpass/login/{typed}", {})
    house.log_in(f"userpass/login/{typed}", b"{")
    assert typed not in house.everything() + caplog.text
    assert ascii(typed)[1:-1] not in house.everything() + caplog.text
