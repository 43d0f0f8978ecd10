"""What is said of a token: what one is to be like, what was made, and what is kept of it."""

from collections.abc import Collection, Mapping
from dataclasses import dataclass, field
from datetime import datetime, timedelta

from pki.errors import Malformed

NAMESPACE = "root"
SERVICE = "service"
DEFAULT_LIFETIME = timedelta(hours=1)
MAX_LIFETIME = timedelta(days=7)
"""No service token outlives this, however often it is renewed."""

DEFAULT_POLICY = "default"
"""The policy that every token has, unless it was made without."""

_NAME_LIMIT = 128
_PAIRS_LIMIT = 64
_TEXT_LIMIT = 512


@dataclass(frozen=True, slots=True)
class NewToken:
    """A service token to be made.

    `lifetime` None is an hour. `path` is where it is made: the mount and the operation, such as `auth/approle/login`.
    `max_lifetime` is what renewals do not pass, a week at most; `uses` None is any number of requests. `parent` is the
    accessor of the token that makes it, and None for an orphan: a child dies with its parent. With `default_policy`
    it has the policy default besides.
    """

    display_name: str
    policies: Collection[str]
    lifetime: timedelta | None
    path: str
    metadata: Mapping[str, str] = field(default_factory=dict)
    renewable: bool = True
    max_lifetime: timedelta | None = None
    uses: int | None = None
    parent: str | None = None
    kind: str = SERVICE
    default_policy: bool = True

    def check(self) -> None:
        """Refuse what cannot be kept, or shown in one line of a log (L2).

        Raises:
            Malformed: the message names it.
        """
        if self.kind != SERVICE:
            raise ValueError("only service tokens are made on request")
        if not self.display_name or not _is_line(self.display_name, _NAME_LIMIT):
            raise Malformed(f"a display name is one printable line of up to {_NAME_LIMIT} characters")
        if len(self.metadata) > _PAIRS_LIMIT:
            raise Malformed(f"a token has {_PAIRS_LIMIT} metadata at most")
        for name, value in self.metadata.items():
            if not name or not _is_line(name, _NAME_LIMIT) or not _is_line(value, _TEXT_LIMIT):
                raise Malformed(
                    "metadata are short printable texts",
                    advice=f"names have up to {_NAME_LIMIT} characters, values up to {_TEXT_LIMIT}",
                )


def _is_line(text: str, limit: int) -> bool:
    return len(text) <= limit and text.isprintable()


@dataclass(frozen=True, slots=True)
class Made:
    """A token that was made or renewed, as its holder is told: `token` is shown this once, and empty after a renewal.

    `lifetime` is what is left of it, in seconds, 0 where it does not expire; `uses` None is any number of requests.
    """

    token: str = field(repr=False)
    accessor: str
    policies: tuple[str, ...]
    lifetime: int
    renewable: bool
    metadata: Mapping[str, str]
    orphan: bool
    uses: int | None
    display_name: str
    warnings: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True)
class Token:
    """What is kept of a token, the token itself not being among it.

    `lifetime` is what it was made for; None, and `expires_at` None, where it does not expire.
    """

    accessor: str
    namespace_id: str
    kind: str
    display_name: str
    path: str
    policies: tuple[str, ...]
    metadata: Mapping[str, str]
    parent: str | None
    lifetime: timedelta | None
    renewable: bool
    uses_left: int | None
    created_at: datetime
    expires_at: datetime | None
    max_expires_at: datetime | None
    revoked_at: datetime | None

    def is_live(self, now: datetime) -> bool:
        """Tell whether it can still be used; one whose last use is under way counts."""
        return self.revoked_at is None and (self.expires_at is None or now < self.expires_at)

    def seconds_left(self, now: datetime) -> int:
        """Return how long it lives, in whole seconds: 0 means for ever, so that what is nearly over is 1."""
        return 0 if self.expires_at is None else max(1, int((self.expires_at - now).total_seconds()))
