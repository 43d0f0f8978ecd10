"""Write audit events inside the transaction of the act they tell of."""

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

import orjson
from sqlalchemy import insert

from pki.clock import Clock, to_ms
from pki.ids import Ids
from pki.storage.database import Tx
from pki.storage.tables import audit_events

_INSERT = insert(audit_events)


@dataclass(frozen=True, slots=True)
class Event:
    """Who (`actor`) did what (`action`, a verb with its room: `certificate.issue`) to which `object`, and how it ended.

    `detail` holds plain facts only: never a secret, never a value that was stored for somebody.
    """

    actor: str
    action: str
    object: str
    outcome: str = "success"
    detail: Mapping[str, Any] = field(default_factory=dict)
    request_id: str | None = None
    namespace_id: str = "root"


class Trail:
    """Records events; the leaf index of the Merkle log is assigned later, by its sequencer alone."""

    def __init__(self, clock: Clock, ids: Ids) -> None:
        self._clock = clock
        self._ids = ids

    def record(self, tx: Tx, event: Event) -> str:
        """Add `event` to the transaction and return its id."""
        event_id = self._ids.new()
        values = {
            "id": event_id,
            "namespace_id": event.namespace_id,
            "at": to_ms(self._clock.now()),
            "actor": event.actor,
            "action": event.action,
            "object": event.object,
            "outcome": event.outcome,
            "request_id": event.request_id,
            "detail": orjson.dumps(dict(event.detail), option=orjson.OPT_SORT_KEYS).decode(),
        }
        tx.execute(_INSERT, values)
        return event_id
