"""Many writers of one secret: exactly one wins each version, nobody starves, nothing is lost."""

import threading
from collections.abc import Callable
from typing import Any

from pki.core import Core, open_core
from pki.errors import Conflict
from pki.mounts import Mount
from pki.vault.records import Changes
from pki.vault.secrets import Secrets
from tests.pki.vault.conftest import a_mount, open_secrets

WRITERS = 100


def _together(count: int, act: Callable[[int], Any]) -> list[Any]:
    """Return what `act` gave or raised for each number, all of them begun at once."""
    results: list[Any] = [None] * count
    barrier = threading.Barrier(count)

    def run(number: int) -> None:
        barrier.wait()
        try:
            results[number] = act(number)
        except Exception as error:  # noqa: BLE001 - the test looks at it
            results[number] = error

    threads = [threading.Thread(target=run, args=(number,)) for number in range(count)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    return results


def test_one_of_a_hundred_writers_wins_each_version(secrets: Secrets, mount: Mount) -> None:
    """S2: all name the same version, one gets it, and its value is the one that is stored; five rounds."""
    for current in range(5):
        results = _together(WRITERS, lambda n, cas=current: secrets.write(mount, "a", {"writer": n}, cas=cas))
        winners = [number for number, result in enumerate(results) if not isinstance(result, Exception)]
        assert len(winners) == 1
        assert all(isinstance(result, Conflict) for number, result in enumerate(results) if number not in winners)
        stored = secrets.read(mount, "a")
        assert stored is not None
        assert (stored.version.number, stored.data) == (current + 1, {"writer": winners[0]})


def test_a_hundred_writers_without_check_and_set_all_succeed(secrets: Secrets, mount: Mount) -> None:
    """Each gets a version of its own, in which its value is."""
    secrets.configure(mount, Changes(max_versions=WRITERS))
    results = _together(WRITERS, lambda number: secrets.write(mount, "a", {"writer": number}).version.number)
    assert sorted(results) == list(range(1, WRITERS + 1))
    for writer, version in enumerate(results):
        stored = secrets.read(mount, "a", version)
        assert stored is not None
        assert stored.data == {"writer": writer}


def test_patches_at_once_lose_nothing(secrets: Secrets, mount: Mount) -> None:
    """Each patch is applied to the version before its own."""
    secrets.write(mount, "a", {})
    assert len(_together(30, lambda number: secrets.patch(mount, "a", {f"n{number}": number}))) == 30
    stored = secrets.read(mount, "a")
    assert stored is not None
    assert stored.data == {f"n{number}": number for number in range(30)}


def test_processes_that_write_at_once_make_one_data_key_and_lose_nothing(core: Core, mount: Mount) -> None:
    """Rooms over databases of their own, as processes have them: one data key, each write a version of its own."""
    others = [open_core(core.config, core.clock) for _ in range(3)]
    try:
        rooms = [open_secrets(each) for each in (core, *others)]
        results = _together(40, lambda number: rooms[number % 4].write(mount, "a", {"n": number}).version.number)
    finally:
        for other in others:
            other.database.close()
    assert sorted(results) == list(range(1, 41))
    assert core.database.point("SELECT COUNT(*) FROM deks WHERE mount = ?", (mount.id,)) == (1,)


def test_writers_of_a_secret_that_is_removed_begin_anew(secrets: Secrets, mount: Mount) -> None:
    """No version is left behind without its secret, whatever comes first."""

    def act(number: int) -> object:
        return secrets.remove(mount, "a") if number % 3 == 0 else secrets.write(mount, "a", {"n": number})

    results = _together(30, act)
    assert [result for result in results if isinstance(result, Exception)] == []
    secrets.remove(mount, "a")
    assert secrets._database.point("SELECT COUNT(*) FROM kv_versions", ()) == (0,)
    assert secrets.names(a_mount()) == []
