"""Secrets: versions, deletion and its undoing, metadata, settings, lists."""

from datetime import timedelta
from typing import Any

import pytest

from pki.core import Core
from pki.errors import Conflict, Malformed, NotFound
from pki.mounts import Mount
from pki.storage.database import Tx
from pki.vault.records import Changes
from pki.vault.secrets import Secrets
from tests.clocks import FrozenClock
from tests.pki.vault.conftest import a_mount


def _data(secrets: Secrets, mount: Mount, path: str, version: int | None = None) -> Any:
    stored = secrets.read(mount, path, version)
    return None if stored is None else stored.data


def _numbers(secrets: Secrets, mount: Mount, path: str) -> list[int]:
    found = secrets.metadata(mount, path)
    return [] if found is None else [version.number for version in found.versions]


def test_versions_are_kept_and_read_by_number(secrets: Secrets, mount: Mount) -> None:
    """S2: each write is a version of its own; the latest is read unless one is named."""
    for number in (1, 2, 3):
        assert secrets.write(mount, "a/b", {"n": number}).version.number == number
    assert _data(secrets, mount, "a/b") == {"n": 3}
    assert [_data(secrets, mount, "a/b", number) for number in (1, 2, 3)] == [{"n": 1}, {"n": 2}, {"n": 3}]
    for absent in (0, 4, -1, 2**31, 2**70):
        assert secrets.read(mount, "a/b", absent) is None
    assert secrets.read(mount, "a") is None
    assert secrets.exists(mount, "a/b")
    assert not secrets.exists(mount, "a")


def test_ten_versions_are_kept_and_the_secret_or_its_mount_may_say_otherwise(secrets: Secrets, mount: Mount) -> None:
    """Versions that are one too many go with the next write; the secret's own number goes before the mount's."""
    for number in range(12):
        secrets.write(mount, "a", {"n": number})
    assert _numbers(secrets, mount, "a") == list(range(3, 13))
    secrets.configure(mount, Changes(max_versions=5))
    secrets.write(mount, "a", {})
    assert _numbers(secrets, mount, "a") == list(range(9, 14))
    secrets.put_metadata(mount, "a", Changes(max_versions=7))
    secrets.write(mount, "a", {})
    assert _numbers(secrets, mount, "a") == list(range(9, 15))
    found = secrets.metadata(mount, "a")
    assert found is not None
    assert (found.secret.oldest_version, found.secret.current_version) == (9, 14)


def test_a_write_that_names_another_version_changes_nothing(secrets: Secrets, mount: Mount) -> None:
    """S2: check-and-set; 0 means that there must be no version, and a deleted one is one."""
    secrets.write(mount, "a", {"n": 1}, cas=0)
    for wrong in (0, 2, -1, 2**70):
        with pytest.raises(Conflict, match=r"^check-and-set parameter did not match the current version$"):
            secrets.write(mount, "a", {"n": 2}, cas=wrong)
        with pytest.raises(Conflict):
            secrets.patch(mount, "a", {"n": 2}, cas=wrong)
    secrets.delete(mount, "a")
    with pytest.raises(Conflict):
        secrets.write(mount, "a", {}, cas=0)
    assert secrets.write(mount, "a", {}, cas=1).version.number == 2


def test_a_mount_or_a_secret_may_require_check_and_set(secrets: Secrets, mount: Mount) -> None:
    """A write that names no version is refused where one is required, a patch too."""
    secrets.write(mount, "a", {})
    secrets.put_metadata(mount, "a", Changes(cas_required=True))
    secrets.write(mount, "b", {})
    secrets.configure(mount, Changes(cas_required=True))
    for path in ("a", "b", "new"):
        with pytest.raises(Malformed, match="check-and-set parameter required for this call"):
            secrets.write(mount, path, {})
    with pytest.raises(Malformed, match="check-and-set parameter required"):
        secrets.patch(mount, "a", {})
    assert secrets.write(mount, "a", {}, cas=1).version.number == 2


def test_a_patch_is_a_new_version_of_the_latest(secrets: Secrets, mount: Mount) -> None:
    """RFC 7396: objects are merged, null removes; what cannot be read cannot be patched."""
    with pytest.raises(NotFound):
        secrets.patch(mount, "a", {"x": 1})
    secrets.write(mount, "a", {"x": 1, "in": {"a": 1, "b": 2}, "list": [1]})
    secrets.patch(mount, "a", {"x": None, "in": {"a": None, "c": {"d": None, "e": 3}}, "list": [2]})
    assert _data(secrets, mount, "a") == {"in": {"b": 2, "c": {"e": 3}}, "list": [2]}
    secrets.delete(mount, "a")
    with pytest.raises(NotFound):
        secrets.patch(mount, "a", {"x": 1})
    assert _numbers(secrets, mount, "a") == [1, 2]


def test_deletion_hides_a_version_until_it_is_taken_back(
    secrets: Secrets, mount: Mount, house_clock: FrozenClock
) -> None:
    """S2: a deleted version is unreadable, and says since when; a second deletion leaves that as it is."""
    secrets.write(mount, "a", {"n": 1})
    secrets.write(mount, "a", {"n": 2})
    secrets.delete(mount, "a")
    at = house_clock.now()
    house_clock.advance(timedelta(seconds=5))
    secrets.delete(mount, "a", [2, 7])
    stored = secrets.read(mount, "a")
    assert stored is not None
    assert (stored.data, stored.version.deleted_at, stored.version.destroyed) == (None, at, False)
    assert _data(secrets, mount, "a", 1) == {"n": 1}
    secrets.undelete(mount, "a", [2, 9])
    assert _data(secrets, mount, "a") == {"n": 2}


def test_destroyed_stays_destroyed(secrets: Secrets, mount: Mount) -> None:
    """S2: no undeletion brings a destroyed version back; the others stay."""
    secrets.write(mount, "a", {"n": 1})
    secrets.write(mount, "a", {"n": 2})
    secrets.destroy(mount, "a", [1])
    secrets.undelete(mount, "a", [1])
    stored = secrets.read(mount, "a", 1)
    assert stored is not None
    assert stored.data is None
    assert stored.version.destroyed
    assert _data(secrets, mount, "a") == {"n": 2}


def test_versions_may_live_for_a_span(secrets: Secrets, mount: Mount, house_clock: FrozenClock) -> None:
    """The shorter of the spans of secret and mount holds; undeletion begins it anew."""
    secrets.configure(mount, Changes(delete_after=timedelta(hours=1)))
    secrets.write(mount, "a", {"n": 1})
    secrets.put_metadata(mount, "a", Changes(delete_after=timedelta(minutes=1)))
    secrets.write(mount, "a", {"n": 2})
    assert _data(secrets, mount, "a") == {"n": 2}
    house_clock.advance(timedelta(minutes=1))
    assert _data(secrets, mount, "a") is None
    assert _data(secrets, mount, "a", 1) == {"n": 1}
    secrets.undelete(mount, "a", [2])
    assert _data(secrets, mount, "a") == {"n": 2}
    house_clock.advance(timedelta(minutes=1))
    assert _data(secrets, mount, "a") is None


def test_metadata_may_come_before_the_first_version(secrets: Secrets, mount: Mount) -> None:
    """A secret without versions has metadata, is listed, and its first write may say so."""
    secrets.put_metadata(mount, "a", Changes())
    assert secrets.metadata(mount, "a") is None
    secrets.put_metadata(mount, "a", Changes(custom_metadata={"owner": "bo"}))
    assert secrets.read(mount, "a") is None
    assert secrets.names(mount) == ["a"]
    assert secrets.write(mount, "a", {}, cas=0).custom_metadata == {"owner": "bo"}
    assert _numbers(secrets, mount, "a") == [1]


def test_custom_metadata_are_replaced_or_patched(secrets: Secrets, mount: Mount) -> None:
    """A put replaces them all, a patch those it names."""
    secrets.write(mount, "a", {})
    secrets.put_metadata(mount, "a", Changes(custom_metadata={"x": "1", "y": "2"}))
    secrets.patch_metadata(mount, "a", Changes(max_versions=3, custom_metadata={"x": None, "z": "ä"}))
    found = secrets.metadata(mount, "a")
    assert found is not None
    assert found.secret.custom_metadata == {"y": "2", "z": "ä"}
    assert found.secret.settings.max_versions == 3
    secrets.patch_metadata(mount, "a", Changes(), clear=True)
    found = secrets.metadata(mount, "a")
    assert found is not None
    assert found.secret.custom_metadata == {}
    with pytest.raises(NotFound):
        secrets.patch_metadata(mount, "b", Changes(max_versions=3))
    with pytest.raises(Malformed, match="65 names"):
        secrets.patch_metadata(mount, "a", Changes(custom_metadata={f"n{n}": "x" for n in range(65)}))


def test_a_removed_secret_begins_anew(secrets: Secrets, mount: Mount) -> None:
    """Removal takes versions and metadata; what is written afterwards is version 1."""
    for _ in range(3):
        secrets.write(mount, "a", {"old": True})
    secrets.remove(mount, "a")
    secrets.remove(mount, "a")
    assert secrets.metadata(mount, "a") is None
    assert secrets.names(mount) == []
    assert secrets.write(mount, "a", {}).version.number == 1
    assert secrets.read(mount, "a", 2) is None


def test_names_are_those_of_one_folder_in_order(secrets: Secrets, mount: Mount) -> None:
    """Folders end in a slash; capitals, letters of the path's beginning and signs of patterns are only letters."""
    for path in ("b/c", "b/d/e", "b", "B/x", "bb", "%", "a_b/x", "axb/y", "ä/ü"):
        secrets.write(mount, path, {})
    assert secrets.names(mount) == ["%", "B/", "a_b/", "axb/", "b", "b/", "bb", "ä/"]
    assert secrets.names(mount, "b") == secrets.names(mount, "b/") == ["c", "d/"]
    assert secrets.names(mount, "a_b/") == ["x"]
    assert secrets.names(mount, "%") == secrets.names(mount, "no") == []


def test_mounts_share_nothing(secrets: Secrets, mount: Mount) -> None:
    """A09: the same path in two mounts is two secrets, with settings of their own."""
    other = a_mount("other")
    secrets.write(mount, "a", {"n": 1})
    secrets.configure(mount, Changes(max_versions=1))
    assert secrets.read(other, "a") is None
    assert secrets.names(other) == []
    assert secrets.settings(mount).max_versions == 1
    assert secrets.settings(other).max_versions == 0
    assert secrets.names(mount) == ["a"]


def test_a_removed_mount_takes_its_secrets_and_its_data_key_along(core: Core, secrets: Secrets, mount: Mount) -> None:
    """What was sealed there can be opened by nobody: the wrapped data key is gone; other mounts stay."""
    other = a_mount("other")
    for place in (mount, other):
        secrets.write(place, "a", {"n": 1})
    secrets.configure(mount, Changes(max_versions=1))
    assert core.database.write(lambda tx: secrets.remove_mount(tx, mount)) == 1
    assert secrets.read(mount, "a") is None
    assert secrets.settings(mount).max_versions == 0
    assert core.database.point("SELECT COUNT(*) FROM deks WHERE mount = ?", (mount.id,)) == (0,)
    assert _data(secrets, other, "a") == {"n": 1}


def test_every_change_is_recorded_in_its_transaction(secrets: Secrets, mount: Mount) -> None:
    """A change whose event cannot be written does not happen; the event says which versions, and no value."""
    details: list[dict[str, Any]] = []

    def note(_tx: Tx, detail: Any) -> None:
        details.append(dict(detail))

    def fail(_tx: Tx, _detail: object) -> None:
        raise RuntimeError("no event")

    secrets.write(mount, "a", {"n": 1}, recording=note)
    secrets.patch(mount, "a", {"n": 2}, recording=note)
    secrets.delete(mount, "a", None, note)
    secrets.delete(mount, "a", [1, 2, 3], note)
    secrets.undelete(mount, "a", [1, 2], note)
    secrets.destroy(mount, "a", [1], note)
    secrets.put_metadata(mount, "a", Changes(max_versions=2), note)
    secrets.patch_metadata(mount, "a", Changes(max_versions=3), recording=note)
    secrets.configure(mount, Changes(max_versions=2), note)
    with pytest.raises(RuntimeError):
        secrets.write(mount, "a", {"n": 3}, recording=fail)
    with pytest.raises(RuntimeError):
        secrets.destroy(mount, "a", [2], fail)
    with pytest.raises(RuntimeError):
        secrets.remove(mount, "a", fail)
    assert _data(secrets, mount, "a") == {"n": 2}
    secrets.remove(mount, "a", note)
    versions = [detail.get("version") or detail.get("versions") for detail in details]
    assert versions == [1, 2, [2], [1], [1, 2], [1], None, None, None, 2]
