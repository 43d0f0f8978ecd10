"""What is kept of a secret: plain records, as rooms and doors pass them about."""

from collections.abc import Mapping
from dataclasses import dataclass, field
from datetime import datetime, timedelta
from typing import Any

DEFAULT_VERSIONS = 10
"""How many versions of a secret are kept where neither it nor its mount says otherwise."""
NEVER = timedelta(0)


@dataclass(frozen=True, slots=True)
class Settings:
    """How versions are kept, of one secret or of all in a mount; what is zero or false leaves it to the other.

    `cas_required`: every write names the version it follows. `delete_after`: a version counts as deleted that long
    after it was written.
    """

    max_versions: int = 0
    cas_required: bool = False
    delete_after: timedelta = NEVER


@dataclass(frozen=True, slots=True)
class Changes:
    """Changes to `Settings` and custom metadata; what is None stays as it is."""

    max_versions: int | None = None
    cas_required: bool | None = None
    delete_after: timedelta | None = None
    custom_metadata: Mapping[str, str | None] | None = None

    @property
    def any(self) -> bool:
        """Whether there is a change at all."""
        return self != Changes()


@dataclass(frozen=True, slots=True)
class Version:
    """One version of a secret; `deleted_at` may lie ahead. A destroyed one has no value any more."""

    number: int
    created_at: datetime
    deleted_at: datetime | None
    destroyed: bool

    def is_readable(self, now: datetime) -> bool:
        """Tell whether its value may be read at `now`."""
        return not self.destroyed and (self.deleted_at is None or now < self.deleted_at)


@dataclass(frozen=True, slots=True)
class Stored:
    """A version with its value, which is None where it is deleted or destroyed, or was just written."""

    version: Version
    custom_metadata: Mapping[str, str]
    data: Mapping[str, Any] | None = field(default=None, repr=False)


@dataclass(frozen=True, slots=True)
class Secret:
    """A path and what is known of its secret, apart from its values; `id` never changes.

    `oldest_version` is the oldest that was kept when versions were last dropped, 0 before.
    """

    id: str
    mac: str = field(repr=False)
    current_version: int
    oldest_version: int
    settings: Settings
    custom_metadata: Mapping[str, str]
    created_at: datetime
    updated_at: datetime


@dataclass(frozen=True, slots=True)
class Metadata:
    """A secret with all its versions, oldest first."""

    secret: Secret
    versions: tuple[Version, ...]


@dataclass(frozen=True, slots=True)
class Standing:
    """How things stand at a path before a write: its secret, if there is one, and the settings of its mount."""

    secret: Secret | None
    mount: Settings

    @property
    def current_version(self) -> int:
        """The number of the latest version, 0 for none."""
        return 0 if self.secret is None else self.secret.current_version

    @property
    def cas_required(self) -> bool:
        """Whether a write must name the version it follows."""
        return self.mount.cas_required or self._own.cas_required

    @property
    def max_versions(self) -> int:
        """How many versions are kept: the secret's own number goes before that of the mount."""
        return self._own.max_versions or self.mount.max_versions or DEFAULT_VERSIONS

    @property
    def oldest_version(self) -> int:
        """What will be the oldest version after the next write."""
        oldest = 0 if self.secret is None else self.secret.oldest_version
        return max(oldest, self.current_version + 2 - self.max_versions)

    def deletion(self, now: datetime) -> datetime | None:
        """Return when a version written at `now` counts as deleted: the shorter of the spans that are set."""
        spans = [span for span in (self._own.delete_after, self.mount.delete_after) if span]
        return now + min(spans) if spans else None

    @property
    def _own(self) -> Settings:
        return Settings() if self.secret is None else self.secret.settings
