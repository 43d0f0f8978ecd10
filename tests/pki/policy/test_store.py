"""Policies as they are kept: versions, reserved names, and what is remembered of them."""

from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import closing
from datetime import UTC, datetime

import pytest

from pki.errors import Conflict, Malformed, Misconfigured, NotFound, Rejected
from pki.policy.builtin import DEFAULT_TEXT
from pki.policy.document import Capability, parse
from pki.policy.store import Policies, Stored
from pki.storage import epochs
from pki.storage.database import Database
from tests.clocks import FrozenClock

READ = 'path "secret/data/*" { capabilities = ["read"] }'
DENY = 'path "secret/data/*" { capabilities = ["deny"] }'
HOSTILE_NAMES = [
    " root",
    "ROOT",
    "Root",
    "\uff52oot",
    "root\0",
    "",
    "a/b",
    "A",
    "a" * 129,
    "a\n",
    "\ud800",
    "..",
    "a b",
]


@pytest.fixture
def database(migrated_url: str) -> Iterator[Database]:
    """Give an open database with every table and no row."""
    with closing(Database.open(migrated_url)) as opened:
        yield opened


@pytest.fixture
def policies(database: Database) -> Policies:
    """Give the store."""
    return open_policies(database)


def open_policies(database: Database) -> Policies:
    """Return the store over an open database."""
    return Policies(database, FrozenClock(datetime(2030, 1, 2, tzinfo=UTC)))


def put(database: Database, policies: Policies, name: str, text: str, cas: int | None = None) -> Stored:
    """Write a policy in a transaction of its own."""
    return database.write(lambda tx: policies.set(tx, name, text, cas))


def may_read(policies: Policies, *names: str) -> bool:
    """Tell whether policies of these names let a secret be read."""
    return policies.acl(names).decide("secret/data/app", Capability.READ).allowed


def test_a_policy_is_kept_as_it_was_written(database: Database, policies: Policies) -> None:
    """Each write is a version; the text comes back unchanged."""
    assert put(database, policies, "app", READ).version == 1
    assert put(database, policies, "app", DENY + "\n# why\n") == Stored("app", 2, DENY + "\n# why\n")
    assert policies.get("app") == Stored("app", 2, DENY + "\n# why\n")
    assert policies.names() == ["app", "default", "root"]


def test_a_new_house_has_two_policies(policies: Policies) -> None:
    """Default needs no row, and root no text."""
    assert policies.names() == ["default", "root"]
    assert policies.get("default") == Stored("default", 0, DEFAULT_TEXT)
    assert policies.get("root") == Stored("root", 0, "")


def test_the_default_policy_gives_what_is_done_with_ones_own_token(policies: Policies) -> None:
    """P6: and nothing else: no token of another, no secret, no mount."""
    assert parse("default", DEFAULT_TEXT).rules
    acl = policies.acl(["default"])
    for path in ("auth/token/lookup-self", "auth/token/renew-self", "auth/token/revoke-self", "sys/capabilities-self"):
        assert acl.decide(path, Capability.UPDATE).allowed, path
    assert acl.decide("auth/token/lookup-self", Capability.READ).allowed
    assert acl.decide("sys/internal/ui/mounts/secret/a", Capability.READ).allowed
    for path in ("auth/token/create", "auth/token/lookup", "sys/mounts", "secret/data/a", "sys/policies/acl/default"):
        assert acl.capabilities(path) == ("deny",), path


def test_the_root_policy_allows_everything(policies: Policies) -> None:
    """Whatever stands beside it."""
    for names in (["root"], ["default", "root"], ("root", "none")):
        assert policies.acl(names).capabilities("any/path") == ("root",)


def test_a_policy_that_there_is_not_gives_nothing(policies: Policies) -> None:
    """A token may name a policy before it is written."""
    assert not may_read(policies, "app")
    assert policies.acl([]).capabilities("secret/data/app") == ("deny",)
    with pytest.raises(NotFound):
        policies.get("app")


@pytest.mark.parametrize("name", HOSTILE_NAMES, ids=range(len(HOSTILE_NAMES)))
def test_a_name_has_one_spelling(database: Database, policies: Policies, name: str) -> None:
    """P2: others cannot be written, read, deleted or be root in disguise."""
    with pytest.raises(Malformed):
        put(database, policies, name, READ)
    with pytest.raises(NotFound):
        policies.get(name)
    assert database.write(lambda tx: policies.delete(tx, name)) is False
    assert policies.names() == ["default", "root"]


def test_root_is_neither_written_nor_deleted(database: Database, policies: Policies) -> None:
    """P2 T3: it has no document."""
    with pytest.raises(Malformed, match="reserved"):
        put(database, policies, "root", READ)
    with pytest.raises(Rejected, match="cannot be deleted"):
        database.write(lambda tx: policies.delete(tx, "root"))


def test_the_default_policy_is_changed_but_not_deleted(database: Database, policies: Policies) -> None:
    """Nobody is locked out of his own token by a deletion."""
    assert put(database, policies, "default", READ, cas=0).version == 1
    assert may_read(policies, "default")
    with pytest.raises(Rejected, match="cannot be deleted"):
        database.write(lambda tx: policies.delete(tx, "default"))


def test_a_policy_that_is_not_understood_is_not_stored(database: Database, policies: Policies) -> None:
    """P9: the one before it stays in force."""
    put(database, policies, "app", READ)
    for text in ("", "path", 'path "a" { capabilities = ["fly"] }', "\0"):
        with pytest.raises(Malformed):
            put(database, policies, "app", text)
    assert may_read(policies, "app")
    assert policies.get("app").version == 1


def test_a_deleted_policy_gives_nothing_at_once(database: Database, policies: Policies) -> None:
    """Deleting twice does no harm; one that is written again begins anew."""
    put(database, policies, "app", READ)
    put(database, policies, "app", READ)
    assert may_read(policies, "app")
    assert [database.write(lambda tx: policies.delete(tx, "app")) for _ in range(2)] == [True, False]
    assert not may_read(policies, "app")
    assert put(database, policies, "app", DENY, cas=0).version == 1
    assert not may_read(policies, "app")


def test_check_and_set_is_over_the_version_that_was_read(database: Database, policies: Policies) -> None:
    """0 is none; a stale version is refused, and nothing is written."""
    with pytest.raises(Conflict, match="check-and-set parameter did not match the current version"):
        put(database, policies, "app", READ, cas=1)
    assert put(database, policies, "app", READ, cas=0).version == 1
    for stale in (0, 2, -1):
        with pytest.raises(Conflict, match="check-and-set"):
            put(database, policies, "app", DENY, cas=stale)
    assert policies.get("app") == Stored("app", 1, READ)
    assert put(database, policies, "app", DENY, cas=1).version == 2


def test_of_writers_with_the_same_version_one_wins(database: Database, policies: Policies) -> None:
    """Check-and-set holds under threads, for the first version as for later ones."""

    def attempt(cas: int) -> bool:
        try:
            put(database, policies, "app", READ, cas=cas)
        except Conflict:
            return False
        return True

    with ThreadPoolExecutor(8) as pool:
        for version in range(10):
            assert sum(pool.map(attempt, [version] * 8)) == 1
    assert policies.get("app").version == 10


def test_a_change_is_seen_by_another_worker_at_its_next_request(database: Database, policies: Policies) -> None:
    """D11: 200 times, what is given or taken here is so there."""
    with closing(Database.open(database.url.render_as_string(hide_password=False))) as other:
        elsewhere = open_policies(other)
        for _ in range(200):
            before = epochs.read(other)
            put(database, policies, "app", READ)
            assert may_read(elsewhere, "app", "default")
            put(database, policies, "app", DENY)
            assert not may_read(elsewhere, "app", "default")
            assert epochs.read(other) == before + 2


def test_what_is_compiled_is_kept_while_its_documents_stay(database: Database, policies: Policies) -> None:
    """An epoch that others have moved costs a look at the documents, and no compilation."""
    put(database, policies, "app", READ)
    first = policies.acl(["app", "default"])
    assert policies.acl(["app", "default"]) is first
    put(database, policies, "other", READ)
    assert policies.acl(["app", "default"]) is first
    put(database, policies, "app", DENY)
    second = policies.acl(["app", "default"])
    assert second is not first
    database.write(lambda tx: policies.delete(tx, "app"))
    put(database, policies, "app", READ)  # version 1 again, with another text than the last
    assert may_read(policies, "app", "default")


def test_what_is_remembered_is_bounded(database: Database, policies: Policies) -> None:
    """D1: sets of policies that were seen once do not fill the memory."""
    put(database, policies, "app", READ)
    now = epochs.read(database)
    for number in range(1100):
        policies.acl(["app", f"p{number}"], epoch=now)
    assert len(policies._compiled) <= 1024
    assert may_read(policies, "app")


def test_a_stored_policy_that_cannot_be_read_is_not_passed_over(database: Database, policies: Policies) -> None:
    """It may hold a deny: without it, nothing is decided, and root can write it anew."""
    put(database, policies, "app", READ)
    put(database, policies, "guard", DENY)
    database.write(lambda tx: tx.exec_driver_sql("UPDATE policies SET document = 'path' WHERE name = 'guard'"))
    fresh = open_policies(database)
    with pytest.raises(Misconfigured, match="guard"):
        may_read(fresh, "app", "guard")
    assert may_read(fresh, "app")
    put(database, policies, "guard", DENY)
    assert not may_read(fresh, "app", "guard")
