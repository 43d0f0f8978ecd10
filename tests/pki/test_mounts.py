"""The mount table: which paths are served by what, and that a change is seen at once."""

from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import closing
from datetime import UTC, datetime

import pytest

from pki.errors import Conflict, Malformed, NotFound, Rejected
from pki.ids import Ids
from pki.mounts import SYSTEM, TOKEN, Mount, Mounts
from pki.storage import epochs
from pki.storage.database import Database
from tests.clocks import FrozenClock

NOW = datetime(2030, 1, 2, tzinfo=UTC)
MISSPELT = [
    "",
    "/",
    "a",
    "/a/",
    "a//",
    "a//b/",
    "./",
    "../",
    "a/../",
    "A/",
    "a b/",
    "a%2fb/",
    "\uff41/",
    "a\\/",
    "a;b/",
]
NO_PATHS = [*MISSPELT, "+/", "*/", "a\n/", "a\0/", "é/", ".a/", "a" * 255 + "/", "sys/", "sys/a/", "auth/", "auth/a/"]
NO_PATHS += ["cubbyhole/", "identity/a/", "audit/"]
NO_AUTH_PATHS = ["", "auth/", "approle/", "Auth/a/", "auth/A/", "auth//", "sys/a/"]


@pytest.fixture
def database(migrated_url: str) -> Iterator[Database]:
    """Give an open database with every table and no row."""
    with closing(Database.open(migrated_url)) as opened:
        yield opened


@pytest.fixture
def mounts(database: Database) -> Mounts:
    """Give the table."""
    return open_mounts(database)


def open_mounts(database: Database) -> Mounts:
    """Return the table over an open database."""
    return Mounts(database, FrozenClock(NOW), Ids())


def add(database: Database, mounts: Mounts, path: str, kind: str = "secret", **members: object) -> Mount:
    """Mount a kv engine, or an approle method, in a transaction of its own."""
    type_ = "kv" if kind == "secret" else "approle"
    return database.write(lambda tx: mounts.add(tx, path=path, kind=kind, type=type_, **members))  # type: ignore[arg-type]


def test_the_house_itself_is_always_mounted(mounts: Mounts) -> None:
    """sys/ and auth/token/ need no row."""
    assert mounts.all() == [TOKEN, SYSTEM]
    assert mounts.match("sys/health") == (SYSTEM, "health")
    assert mounts.match("auth/token/lookup-self") == (TOKEN, "lookup-self")
    assert mounts.get("sys/") == SYSTEM


@pytest.mark.parametrize(
    ("path", "mount", "rest"),
    [
        ("secret/data/a/b", "secret/", "data/a/b"),
        ("secret/", "secret/", ""),
        ("team/kv/data/a", "team/kv/", "data/a"),
        ("auth/approle/login", "auth/approle/", "login"),
        ("secret", None, ""),
        ("secrets/data", None, ""),
        ("team/data/a", None, ""),
        ("auth/login", None, ""),
        ("/secret/data", None, ""),
        ("Secret/data", None, ""),
        ("", None, ""),
        ("/", None, ""),
    ],
)
def test_the_mount_of_a_path_is_its_prefix_of_whole_segments(
    database: Database, mounts: Mounts, path: str, mount: str | None, rest: str
) -> None:
    """P1: the prefix must be there exactly, slash included, and the rest is what follows it."""
    for added, kind in (("secret/", "secret"), ("team/kv/", "secret"), ("auth/approle/", "auth")):
        add(database, mounts, added, kind)
    found = mounts.match(path)
    assert (None if found is None else (found[0].path, found[1])) == (None if mount is None else (mount, rest))


def test_a_mount_keeps_what_it_was_made_with(database: Database, mounts: Mounts) -> None:
    """Options are the engine's, tuning everybody's; the id is new."""
    made = add(database, mounts, "kv/", options={"version": "2"}, tuning={"max_lease_ttl": 3600}, description="Keys")
    assert mounts.get("kv/") == made
    assert (made.options, made.tuning, made.description, made.version) == (
        {"version": "2"},
        {"max_lease_ttl": 3600},
        "Keys",
        1,
    )
    assert made.id != add(database, mounts, "kv2/").id


@pytest.mark.parametrize("path", ["secret/", "secret/below/", "team/", "team/kv/", "team/kv/below/"])
def test_no_mount_hides_behind_another(database: Database, mounts: Mounts, path: str) -> None:
    """P1 P8: a path has one mount, whichever was there first, so a mount can take nothing from another."""
    add(database, mounts, "secret/")
    add(database, mounts, "team/kv/")
    with pytest.raises(Conflict, match="already in use"):
        add(database, mounts, path)
    other = add(database, mounts, "elsewhere/")
    with pytest.raises(Conflict, match="already in use"):
        database.write(lambda tx: mounts.move(tx, other.path, path))
    assert mounts.get("elsewhere/") == other


@pytest.mark.parametrize(
    ("path", "kind"),
    [*((path, "secret") for path in NO_PATHS), *((path, "auth") for path in NO_AUTH_PATHS)],
)
def test_a_path_of_another_spelling_is_refused(database: Database, mounts: Mounts, path: str, kind: str) -> None:
    """P1: nothing is repaired; what the house needs for itself is reserved."""
    with pytest.raises(Malformed):
        add(database, mounts, path, kind)
    assert mounts.all() == [TOKEN, SYSTEM]


@pytest.mark.parametrize("path", ["auth/token/", "auth/token/below/"])
def test_nothing_is_mounted_over_tokens(database: Database, mounts: Mounts, path: str) -> None:
    """P7: login and revocation stay where they are."""
    with pytest.raises(Conflict):
        add(database, mounts, path, "auth")


@pytest.mark.parametrize("path", ["sys/", "auth/token/"])
def test_the_house_itself_is_not_changed(database: Database, mounts: Mounts, path: str) -> None:
    """P7: neither tuned nor moved nor removed."""
    for act in (
        lambda tx: mounts.tune(tx, path, description="x"),
        lambda tx: mounts.move(tx, path, "elsewhere/"),
        lambda tx: mounts.remove(tx, path),
    ):
        with pytest.raises(Rejected, match="cannot be changed"):
            database.write(act)


def test_tuning_changes_what_is_given_and_nothing_else(database: Database, mounts: Mounts) -> None:
    """Members that are not given stay; the id stays; the version rises."""
    made = add(database, mounts, "kv/", options={"version": "2"}, tuning={"default_lease_ttl": 60}, description="Keys")
    tuned = database.write(lambda tx: mounts.tune(tx, "kv/", tuning={"max_lease_ttl": 90}))
    assert tuned == mounts.get("kv/")
    assert (tuned.id, tuned.version, tuned.description, tuned.options) == (made.id, 2, "Keys", {"version": "2"})
    assert tuned.tuning == {"default_lease_ttl": 60, "max_lease_ttl": 90}
    assert database.write(lambda tx: mounts.tune(tx, "kv/", description="")).description == ""


@pytest.mark.parametrize("description", ["a\nb", "\x1b[2J", "a" * 1025])
def test_a_description_is_one_line(database: Database, mounts: Mounts, description: str) -> None:
    """L2: it stands in lists and logs."""
    with pytest.raises(Malformed):
        add(database, mounts, "kv/", description=description)
    add(database, mounts, "kv/")
    with pytest.raises(Malformed):
        database.write(lambda tx: mounts.tune(tx, "kv/", description=description))


def test_a_moved_mount_keeps_its_id(database: Database, mounts: Mounts) -> None:
    """Keys and rows are bound to the id, so that a move rewrites nothing; it may move to below its own path."""
    made = add(database, mounts, "kv/")
    assert database.write(lambda tx: mounts.move(tx, "kv/", "kv/team/")).id == made.id
    assert mounts.match("kv/data/a") is None
    found = mounts.match("kv/team/data/a")
    assert found is not None
    assert (found[0].id, found[1]) == (made.id, "data/a")
    with pytest.raises(Malformed):
        database.write(lambda tx: mounts.move(tx, "kv/team/", "auth/kv/"))


def test_what_is_not_mounted_cannot_be_changed(database: Database, mounts: Mounts) -> None:
    """A path that has no mount is told so."""
    for act in (
        lambda _: mounts.get("kv/"),
        lambda tx: mounts.tune(tx, "kv/"),
        lambda tx: mounts.move(tx, "kv/", "kv2/"),
        lambda tx: mounts.remove(tx, "kv/"),
        lambda tx: mounts.remove(tx, "k\nv/"),
        lambda tx: mounts.move(tx, "kv\0/", "kv2/"),
    ):
        with pytest.raises(NotFound):
            database.write(act)


def test_a_change_is_seen_by_another_worker_at_its_next_request(database: Database, mounts: Mounts) -> None:
    """D11: 200 times, what is mounted, moved or removed here is so there; each change moves the epoch."""
    with closing(Database.open(database.url.render_as_string(hide_password=False))) as other:
        elsewhere = open_mounts(other)
        for _ in range(200):
            before = epochs.read(other)
            made = add(database, mounts, "kv/")
            assert elsewhere.match("kv/a") == (made, "a")
            moved = database.write(lambda tx: mounts.move(tx, "kv/", "kv2/"))
            assert (elsewhere.match("kv/a"), elsewhere.match("kv2/a")) == (None, (moved, "a"))
            database.write(lambda tx: mounts.remove(tx, "kv2/"))
            assert elsewhere.match("kv2/a") is None
            assert epochs.read(other) == before + 3


def test_a_mount_that_was_rolled_back_is_never_seen(database: Database, mounts: Mounts) -> None:
    """What is remembered is what is committed, also while a change is under way."""
    add(database, mounts, "kv/")

    def work(tx: object) -> None:
        mounts.remove(tx, "kv/")  # type: ignore[arg-type]
        assert mounts.match("kv/a") is not None
        raise RuntimeError("cut")

    with pytest.raises(RuntimeError, match="cut"):
        database.write(work)
    assert mounts.match("kv/a") is not None


def test_of_overlapping_mounts_made_at_once_one_is_made(database: Database, mounts: Mounts) -> None:
    """P8: no race makes two mounts of which one hides the other."""

    def attempt(path: str) -> bool:
        try:
            add(database, mounts, path)
        except Conflict:
            return False
        return True

    with ThreadPoolExecutor(8) as pool:
        for turn in range(15):
            paths = [f"t{turn}/", f"t{turn}/a/", f"t{turn}/a/b/", f"t{turn}/a/b/c/"] * 2
            assert sum(pool.map(attempt, paths)) == 1


def test_the_epoch_that_was_read_already_is_not_read_again(database: Database, mounts: Mounts) -> None:
    """A request reads the epoch once; what it was told is what it gets."""
    add(database, mounts, "kv/")
    now = epochs.read(database)
    assert mounts.match("kv/a", epoch=now) is not None
    database.write(lambda tx: mounts.remove(tx, "kv/"))
    assert mounts.match("kv/a", epoch=now) is not None
    assert mounts.match("kv/a", epoch=epochs.read(database)) is None
