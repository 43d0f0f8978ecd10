"""The engine of `sys/`: a module for each family of operations, and one class that holds them all."""

from pki.api.system.capabilities import Capabilities
from pki.api.system.log import Log
from pki.api.system.mounts import MountTable
from pki.api.system.policies import PolicyDocuments
from pki.api.system.rooms import Rooms
from pki.api.system.specification import Specification
from pki.api.system.status import Status

__all__ = ["Rooms", "System"]


class System(Status, MountTable, PolicyDocuments, Capabilities, Log, Specification):
    """Serves what concerns the whole service: status, mounts, policies, rights, and the audit log."""
