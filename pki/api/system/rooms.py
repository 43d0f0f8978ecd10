"""What the operations of `sys/` need: nearly all of the house, named one by one."""

from collections.abc import Callable, Mapping
from dataclasses import dataclass

from pki.api.readiness import Readiness
from pki.audit.events import Events
from pki.clock import Clock
from pki.identity.tokens import Tokens
from pki.mounts import Mounts
from pki.operations.declare import Engine
from pki.policy.store import Policies
from pki.storage.database import Database


@dataclass(frozen=True, slots=True)
class Rooms:
    """The rooms behind `sys/`. `engines` are all by type; `exposition` returns the metrics as Prometheus reads them."""

    base_url: str
    cluster_id: str
    version: str
    clock: Clock
    database: Database
    mounts: Mounts
    tokens: Tokens
    policies: Policies
    events: Events
    readiness: Readiness
    engines: Mapping[str, Engine]
    exposition: Callable[[], str]
