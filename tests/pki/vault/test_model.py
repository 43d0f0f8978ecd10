"""Random acts on a few secrets, beside a model in a few lines: what each read says must be the same."""

import itertools
from collections.abc import Iterator
from dataclasses import dataclass, field
from datetime import datetime, timedelta
from typing import Any

from hypothesis import settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, initialize, invariant, rule, run_state_machine_as_test

from pki.errors import Conflict, NotFound
from pki.vault.records import Changes
from pki.vault.secrets import Secrets
from pki.vault.values import merge
from tests.clocks import FrozenClock
from tests.counts import count
from tests.pki.vault.conftest import a_mount

PATHS = st.sampled_from(["a", "a/b", "c"])
VERSIONS = st.lists(st.integers(-1, 6), max_size=3)
VALUES = st.dictionaries(st.sampled_from("xyz"), st.integers(0, 9) | st.none() | st.just({"in": 1}), max_size=3)


@dataclass
class _Version:
    data: dict[str, Any] | None
    deleted: datetime | None = None
    destroyed: bool = False


@dataclass
class _Secret:
    current: int = 0
    most: int = 0
    versions: dict[int, _Version] = field(default_factory=dict)


class Machine(RuleBasedStateMachine):
    """Acts on the room; each run has a mount of its own."""

    secrets: Secrets
    clock: FrozenClock
    runs: Iterator[int]

    @initialize()
    def begin(self) -> None:
        """Take a mount that nothing was written to."""
        self.mount = a_mount(f"m{next(self.runs)}")
        self.model: dict[str, _Secret] = {}

    def _readable(self, path: str) -> dict[str, Any] | None:
        secret = self.model.get(path)
        version = secret and secret.versions.get(secret.current)
        if not version or version.destroyed or (version.deleted and version.deleted <= self.clock.now()):
            return None
        return version.data

    def _store(self, path: str, data: dict[str, Any]) -> None:
        secret = self.model.setdefault(path, _Secret())
        secret.current += 1
        secret.versions[secret.current] = _Version(data)
        oldest = secret.current - (secret.most or 10)
        secret.versions = {number: kept for number, kept in secret.versions.items() if number > oldest}

    @rule(path=PATHS, data=VALUES)
    def write(self, path: str, data: dict[str, Any]) -> None:
        """Write."""
        self.secrets.write(self.mount, path, data)
        self._store(path, data)

    @rule(path=PATHS, data=VALUES, cas=st.integers(0, 3))
    def write_after(self, path: str, data: dict[str, Any], cas: int) -> None:
        """Write with check-and-set."""
        current = self.model[path].current if path in self.model else 0
        try:
            self.secrets.write(self.mount, path, data, cas=cas)
        except Conflict:
            assert cas != current
        else:
            assert cas == current
            self._store(path, data)

    @rule(path=PATHS, data=VALUES)
    def patch(self, path: str, data: dict[str, Any]) -> None:
        """Patch the latest version."""
        latest = self._readable(path)
        try:
            self.secrets.patch(self.mount, path, data)
        except NotFound:
            assert latest is None
        else:
            assert latest is not None
            self._store(path, merge(latest, data))

    @rule(path=PATHS, versions=VERSIONS | st.none())
    def delete(self, path: str, versions: list[int] | None) -> None:
        """Delete versions, or the latest."""
        self.secrets.delete(self.mount, path, versions)
        secret = self.model.get(path, _Secret())
        for number in [secret.current] if versions is None else versions:
            version = secret.versions.get(number)
            if version and not version.destroyed and not version.deleted:
                version.deleted = self.clock.now()

    @rule(path=PATHS, versions=VERSIONS)
    def undelete(self, path: str, versions: list[int]) -> None:
        """Undelete versions."""
        self.secrets.undelete(self.mount, path, versions)
        for number in versions:
            version = self.model.get(path, _Secret()).versions.get(number)
            if version and not version.destroyed:
                version.deleted = None

    @rule(path=PATHS, versions=VERSIONS)
    def destroy(self, path: str, versions: list[int]) -> None:
        """Destroy versions."""
        self.secrets.destroy(self.mount, path, versions)
        for number in versions:
            version = self.model.get(path, _Secret()).versions.get(number)
            if version:
                version.destroyed = True

    @rule(path=PATHS, most=st.integers(1, 3))
    def keep(self, path: str, most: int) -> None:
        """Change how many versions are kept."""
        self.secrets.put_metadata(self.mount, path, Changes(max_versions=most))
        self.model.setdefault(path, _Secret()).most = most

    @rule(path=PATHS)
    def remove(self, path: str) -> None:
        """Remove the secret."""
        self.secrets.remove(self.mount, path)
        self.model.pop(path, None)

    @rule(seconds=st.integers(1, 100))
    def wait(self, seconds: int) -> None:
        """Let time pass."""
        self.clock.advance(timedelta(seconds=seconds))

    @invariant()
    def what_is_read_is_what_was_written(self) -> None:
        """Compare lists, metadata and values."""
        assert self.secrets.names(self.mount) == sorted({name + slash for name, slash, _ in
                                                    (path.partition("/") for path in self.model)})  # fmt: skip
        for path, secret in self.model.items():
            found = self.secrets.metadata(self.mount, path)
            assert found is not None
            assert found.secret.current_version == secret.current
            assert {version.number: (version.deleted_at, version.destroyed) for version in found.versions} == {
                number: (version.deleted, version.destroyed) for number, version in secret.versions.items()
            }
            stored = self.secrets.read(self.mount, path)
            assert (None if stored is None else stored.data) == self._readable(path)


def test_random_acts_do_what_the_model_does(secrets: Secrets, house_clock: FrozenClock) -> None:
    """S2: versions, check-and-set, patches, deletion, destruction, limits and removal, in any order."""
    machine = type("Bound", (Machine,), {"secrets": secrets, "clock": house_clock, "runs": itertools.count()})
    bounds = settings(max_examples=count(12, 300), stateful_step_count=25, deadline=None)
    run_state_machine_as_test(machine, settings=bounds)  # type: ignore[no-untyped-call]
    assert next(machine.runs) >= count(12, 300)  # type: ignore[attr-defined]
