"""Revoked means refused, at once, everywhere, with all below."""

import subprocess
import sys
import threading
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import closing
from datetime import timedelta

import pytest

from pki.errors import Denied
from pki.identity.tokens import Made, Tokens
from pki.storage import epochs
from pki.storage.database import Database, Tx
from tests.clocks import FrozenClock
from tests.pki.identity.conftest import add, new, open_tokens
from tests.pki.identity.test_tokens import is_good


@pytest.fixture
def elsewhere(database: Database, clock: FrozenClock) -> Iterator[Tokens]:
    """Give the room as another process has it, over a database object of its own."""
    with closing(Database.open(database.url.render_as_string(hide_password=False))) as other:
        yield open_tokens(other, clock)


def test_what_is_revoked_is_refused_at_the_next_request_of_another_worker(
    database: Database, tokens: Tokens, elsewhere: Tokens
) -> None:
    """D11: 1,000 times: good elsewhere, revoked here, refused elsewhere."""
    made = database.write(lambda tx: [tokens.add(tx, new()) for _ in range(1000)])
    for one in made:
        principal = elsewhere.authenticate(one.token)
        assert database.write(lambda tx, one=one: tokens.revoke(tx, one.accessor)) == 1  # type: ignore[misc]
        assert not is_good(elsewhere, one.token)
        with pytest.raises(Denied):
            elsewhere.confirm(principal)


_WORKER = """
import sys
from datetime import UTC, datetime
from pki.storage.database import Database
from tests.clocks import FrozenClock
from tests.pki.identity.conftest import open_tokens
from tests.pki.identity.test_tokens import is_good
tokens = open_tokens(Database.open(sys.argv[1]), FrozenClock(datetime(2030, 1, 2, 3, 4, 5, tzinfo=UTC)))
for line in sys.stdin:
    print(is_good(tokens, line.strip()), flush=True)
"""


def test_what_is_revoked_is_refused_in_another_process(database: Database, tokens: Tokens) -> None:
    """D11: the same across processes, 100 times."""
    url = database.url.render_as_string(hide_password=False)
    made = database.write(lambda tx: [tokens.add(tx, new()) for _ in range(100)])
    command = [sys.executable, "-c", _WORKER, url]
    with subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True) as worker:
        assert worker.stdin is not None
        assert worker.stdout is not None
        for one in made:
            for expected in ("True\n", "False\n"):
                worker.stdin.write(one.token + "\n")
                worker.stdin.flush()
                assert worker.stdout.readline() == expected
                database.write(lambda tx, one=one: tokens.revoke(tx, one.accessor))  # type: ignore[misc]
        worker.stdin.close()


def test_a_revocation_takes_everything_below(database: Database, tokens: Tokens) -> None:
    """T2: children and theirs, however many; what is beside stays."""

    def work(tx: Tx) -> tuple[Made, list[Made], Made]:
        top, beside = tokens.add(tx, new()), tokens.add(tx, new())
        below = [tokens.add(tx, new(parent=top.accessor)) for _ in range(600)]
        below += [tokens.add(tx, new(parent=one.accessor)) for one in below[:40]]
        return top, below, beside

    top, below, beside = database.write(work)
    assert database.write(lambda tx: tokens.revoke(tx, top.accessor)) == 641
    assert not any(is_good(tokens, one.token) for one in (top, *below))
    assert is_good(tokens, beside.token)
    assert tokens.accessors() == [beside.accessor]


def test_a_revocation_is_whole_or_not_at_all(database: Database, tokens: Tokens) -> None:
    """T2: what fails in the middle leaves parent and child alive, together."""
    parent = add(database, tokens)
    child = add(database, tokens, parent=parent.accessor)

    def work(tx: Tx) -> None:
        tokens.revoke(tx, parent.accessor)
        raise RuntimeError("cut")

    with pytest.raises(RuntimeError, match="cut"):
        database.write(work)
    assert is_good(tokens, parent.token)
    assert is_good(tokens, child.token)


def _meanwhile(act: Callable[[], object]) -> tuple[threading.Thread, list[object]]:
    """Begin `act` in another thread and give it the time to come as far as it can."""
    outcome: list[object] = []

    def run() -> None:
        try:
            outcome.append(act())
        except Denied as error:
            outcome.append(error)

    thread = threading.Thread(target=run)
    thread.start()
    thread.join(0.3)
    return thread, outcome


def test_a_child_that_is_being_made_is_revoked_with_its_parent(database: Database, tokens: Tokens) -> None:
    """T2: a revocation that comes while a child is made waits for it, and then takes it."""
    parent = add(database, tokens)
    waiting: list[threading.Thread] = []

    def work(tx: Tx) -> Made:
        child = tokens.add(tx, new(parent=parent.accessor))
        thread, outcome = _meanwhile(lambda: database.write(lambda tx: tokens.revoke(tx, parent.accessor)))
        assert outcome == []
        waiting.append(thread)
        return child

    child = database.write(work)
    waiting[0].join(10)
    assert not is_good(tokens, child.token)
    assert not is_good(tokens, parent.token)


def test_no_child_is_made_of_a_parent_that_is_being_revoked(database: Database, tokens: Tokens) -> None:
    """T2: making a child while its parent is revoked waits for the outcome, and is refused."""
    parent = add(database, tokens)
    waiting: list[tuple[threading.Thread, list[object]]] = []

    def work(tx: Tx) -> None:
        tokens.revoke(tx, parent.accessor)
        waiting.append(_meanwhile(lambda: add(database, tokens, parent=parent.accessor)))

    database.write(work)
    thread, outcome = waiting[0]
    thread.join(10)
    assert [type(one) for one in outcome] == [Denied]
    assert tokens.accessors() == []


def test_no_descendant_outlives_a_race_with_the_revocation(database: Database, tokens: Tokens) -> None:
    """T2: 40 times, four threads make children and theirs while the parent is revoked: none is left alive."""

    def breed(parent: Made) -> None:
        for _ in range(6):
            try:
                child = add(database, tokens, parent=parent.accessor)
                add(database, tokens, parent=child.accessor)
            except Denied:
                return

    with ThreadPoolExecutor(5) as pool:
        for _ in range(40):
            parent = add(database, tokens)
            jobs = [pool.submit(breed, parent) for _ in range(4)]
            revoked = pool.submit(database.write, lambda tx, one=parent: tokens.revoke(tx, one.accessor))
            for job in jobs:
                job.result()
            assert revoked.result() >= 1
            assert tokens.accessors() == []


def test_a_renewal_in_a_race_with_the_revocation_revives_nothing(database: Database, tokens: Tokens) -> None:
    """T2: renewing children while their parent is revoked ends with all of them dead, and no deadlock."""
    with ThreadPoolExecutor(5) as pool:
        for _ in range(20):
            parent = add(database, tokens)
            children = [add(database, tokens, parent=parent.accessor) for _ in range(4)]

            def renew(one: Made) -> bool:
                try:
                    database.write(lambda tx: tokens.renew(tx, one.accessor, None))
                except Exception as error:  # noqa: BLE001 - its kind is what is looked at
                    return type(error).__name__ == "NotFound"
                return True

            jobs = [pool.submit(renew, one) for one in children]
            pool.submit(database.write, lambda tx, one=parent: tokens.revoke(tx, one.accessor)).result()
            assert all(job.result() for job in jobs)
            assert tokens.accessors() == []


def test_a_token_revoked_alone_leaves_orphans(database: Database, tokens: Tokens) -> None:
    """revoke-orphan: the children live on to their own end, and their renewals are bounded by no parent."""
    parent = add(database, tokens, lifetime=timedelta(minutes=10))
    child = add(database, tokens, lifetime=timedelta(hours=1), parent=parent.accessor)
    grandchild = add(database, tokens, parent=child.accessor)
    assert database.write(lambda tx: tokens.revoke_orphan(tx, parent.accessor)) == 1
    assert not is_good(tokens, parent.token)
    assert is_good(tokens, child.token)
    assert tokens.lookup(child.accessor).parent is None
    assert database.write(lambda tx: tokens.renew(tx, child.accessor, None)).lifetime == 3600
    assert database.write(lambda tx: tokens.revoke(tx, child.accessor)) == 2
    assert not is_good(tokens, grandchild.token)


def test_revoking_twice_does_no_harm(database: Database, tokens: Tokens) -> None:
    """A retry after a lost answer finds nothing left to do; so does one for what never was a token."""
    made = add(database, tokens)
    assert [database.write(lambda tx: tokens.revoke(tx, made.accessor)) for _ in range(2)] == [1, 0]
    for unknown in ("a" * 26, "", "\0", "x" * 5000):
        assert database.write(lambda tx, unknown=unknown: tokens.revoke(tx, unknown)) == 0  # type: ignore[misc]
        assert database.write(lambda tx, unknown=unknown: tokens.revoke_orphan(tx, unknown)) == 0  # type: ignore[misc]


def test_revoking_by_kind_takes_what_those_tokens_made(database: Database, tokens: Tokens) -> None:
    """T3: after init nothing of a former bootstrap token is left."""
    bootstrap = tokens.authenticate(tokens.make("bootstrap", ("root",), timedelta(minutes=10)))
    child = add(database, tokens, parent=bootstrap.accessor)
    assert tokens.revoke_kind("bootstrap") == 2
    assert not is_good(tokens, child.token)


def test_the_tokens_of_an_auth_method_end_with_it(database: Database, tokens: Tokens) -> None:
    """Removing a mount revokes what was made below its path, and nothing whose path only looks like it."""
    gone = add(database, tokens, path="auth/a_b/login")
    stays = [add(database, tokens, path=path) for path in ("auth/axb/login", "auth/a_bc/login", "auth/token/create")]
    assert database.write(lambda tx: tokens.revoke_below(tx, "auth/a_b/")) == 1
    assert not is_good(tokens, gone.token)
    assert all(is_good(tokens, one.token) for one in stays)


def test_every_revocation_moves_the_epoch(database: Database, tokens: Tokens) -> None:
    """D11: a request that is under way learns of it in the transaction that records it."""
    before = epochs.read(database)
    made = [add(database, tokens) for _ in range(3)]
    assert epochs.read(database) == before

    def work(tx: Tx) -> tuple[int, int]:
        tokens.revoke(tx, made[0].accessor)
        return epochs.current(tx), epochs.read(database)

    assert database.write(work) == (before + 1, before)
    database.write(lambda tx: tokens.revoke_orphan(tx, made[1].accessor))
    tokens.revoke_kind("service")
    assert epochs.read(database) == before + 3
