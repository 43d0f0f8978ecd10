"""What the families of `sys/` have in common."""

import orjson

from pki.api.errors import CONTENT_TYPE
from pki.api.system.rooms import Rooms
from pki.operations.call import Reply
from pki.operations.declare import Engine


class Family(Engine):
    """A part of `sys/`."""

    type = "system"
    kind = "system"

    def __init__(self, rooms: Rooms) -> None:
        self._rooms = rooms


def bare(document: object, status: int = 200) -> Reply:
    """Return a reply that is `document` itself, without the envelope."""
    return Reply(raw=(CONTENT_TYPE, orjson.dumps(document)), status=status)
