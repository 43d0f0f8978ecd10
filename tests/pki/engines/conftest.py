"""What an engine's operations are called with, where no pipeline stands before them."""

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

import pytest

from pki.audit.trail import Event
from pki.core import Core
from pki.identity.principals import Principal
from pki.mounts import Mount
from pki.operations.call import Call
from pki.storage.database import Tx


@dataclass
class Caller:
    """Makes calls by one principal on one mount; what operations record is written to the audit log, as it would be."""

    core: Core
    mount: Mount
    principal: Principal | None
    calls: int = 0
    recorded: list[Mapping[str, Any]] = field(default_factory=list)

    def call(self, path: str, **query: str) -> Call:
        """Return a call of `path`, which is below the mount; each has a request id of its own."""
        self.calls += 1
        request_id, whole = f"request-{self.calls}", self.mount.path + path

        def record(tx: Tx, about: str | None, detail: Mapping[str, Any]) -> None:
            actor = "anonymous" if self.principal is None else self.principal.name
            event = Event(actor, f"{self.mount.type}.act", about or whole, request_id=request_id, detail=detail)
            self.core.trail.record(tx, event)
            self.recorded.append({"object": event.object, **detail})

        return Call(request_id, self.mount, whole, query, "127.0.0.1", record, self.principal)


def caller(core: Core, kind: str, path: str, options: Mapping[str, str] | None = None, name: str = "alice") -> Caller:
    """Return a caller on a mount of an engine's type; `name` is the principal's."""
    mount = Mount(f"mount-{path.strip('/')}", "root", path, "secret", kind, options=options or {})
    principal = Principal("accessor1", "root", "service", name, ("default",), "auth/x", core.clock.now(), None)
    return Caller(core, mount, principal)


@pytest.fixture
def pki_caller(core: Core) -> Caller:
    """Give a caller on the mount pki/."""
    return caller(core, "pki", "pki/")
