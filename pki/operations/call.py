"""What an operation is given, and what it returns."""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import datetime
from typing import Any

from pki.errors import Denied
from pki.identity.principals import Principal
from pki.mounts import Mount
from pki.storage.database import Tx

Recorder = Callable[[Tx, str | None, Mapping[str, Any]], None]
"""(tx, object or None for the request's path, detail): writes the request's audit event in that transaction."""


@dataclass(slots=True)
class Call:
    """One request, authenticated and authorised, on its way to an operation.

    `path` is the whole path, mount included and without `v1/`; `query` its query parameters; `remote` the address it
    came from. An operation that writes passes its transaction to `record`, so that the change and its audit event
    commit together; for what records nothing itself, the pipeline commits an event before the answer leaves.
    """

    request_id: str
    mount: Mount
    path: str
    query: Mapping[str, str]
    remote: str
    recorder: Recorder
    principal: Principal | None = None
    client_token: str | None = field(default=None, repr=False)

    @property
    def actor(self) -> str:
        """Who acts, as certificates and the audit log name them."""
        return "anonymous" if self.principal is None else self.principal.name

    def caller(self) -> Principal:
        """Return the principal.

        Raises:
            Denied: the operation is open, and no token was given.
        """
        if self.principal is None:
            raise Denied("a token is needed", advice="log in first")
        return self.principal

    def record(self, tx: Tx, *, about: str | None = None, **detail: Any) -> None:
        """Write this request's audit event in `tx`: `about` is the object, the request's path unless given.

        `detail` holds plain facts: never a secret, never a stored value.
        """
        self.recorder(tx, about, detail)


@dataclass(frozen=True, slots=True)
class Auth:
    """A token that was made, as logins and token operations answer it. Spans are in seconds."""

    client_token: str = field(repr=False)
    accessor: str
    policies: Sequence[str]
    metadata: Mapping[str, str]
    lease_duration: int
    renewable: bool
    entity_id: str = ""
    orphan: bool = True
    num_uses: int = 0


@dataclass(frozen=True, slots=True)
class Reply:
    """What an operation answers with.

    Nothing in it is 204. `data` is the envelope's; `absent` answers with 404 although there are data (a deleted
    version); `also_flat` repeats the keys of `data` beside the envelope's own; `raw` replaces the envelope by octets
    with their content type. `accepted` is 202: it is under way. `status` overrides all of these (sys/health).
    """

    data: Mapping[str, Any] | None = None
    auth: Auth | None = None
    warnings: Sequence[str] = ()
    absent: bool = False
    accepted: bool = False
    also_flat: bool = False
    raw: tuple[str, bytes] | None = None
    status: int | None = None


def keys(names: Sequence[str], info: Mapping[str, Any] | None = None) -> Reply:
    """Return the answer to a LIST: `keys`, folders ending in a slash. An empty list is answered as absent (404)."""
    if not names:
        return Reply(absent=True)
    data: dict[str, Any] = {"keys": list(names)}
    if info is not None:
        data["key_info"] = info
    return Reply(data)


def when(moment: datetime | None) -> str | None:
    """Return RFC 3339 text with milliseconds and Z, as answers carry times; None stays None."""
    if moment is None:
        return None
    return moment.isoformat(timespec="milliseconds").replace("+00:00", "Z")
