"""The rooms of SSH, put together: CA keys, roles, the gate, and what clears up after a crash."""

from dataclasses import dataclass
from typing import Self

from hsm.device import Hsm
from pki.audit.trail import Trail
from pki.clock import Clock
from pki.ids import Ids
from pki.ssh.issuers import SshIssuers
from pki.ssh.reconcile import SshReconciler
from pki.ssh.roles import Roles
from pki.ssh.sign import SshGate
from pki.storage.database import Database


@dataclass(frozen=True, slots=True)
class SshAuthority:
    """The SSH CA of every mount."""

    database: Database
    issuers: SshIssuers
    roles: Roles
    gate: SshGate
    reconciler: SshReconciler

    @classmethod
    def over(
        cls, *, database: Database, hsm: Hsm, clock: Clock, ids: Ids, trail: Trail, cluster_id: str, worker: str
    ) -> Self:
        """Build the rooms; `worker` names this process in reservations."""
        issuers = SshIssuers(database=database, hsm=hsm, clock=clock, ids=ids, trail=trail, cluster_id=cluster_id)
        roles = Roles(database, clock)
        gate = SshGate(
            database=database, clock=clock, ids=ids, trail=trail, issuers=issuers, roles=roles, worker=worker
        )
        return cls(database, issuers, roles, gate, SshReconciler(database, clock, gate))
