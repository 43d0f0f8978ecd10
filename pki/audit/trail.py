"""Write audit events inside the transaction of the act they tell of."""

from collections.abc import Mapping
from dataclasses import dataclass, field
from datetime import timedelta
from typing import Any

import orjson
from sqlalchemy import func, insert, select

from pki.clock import Clock, from_ms, rfc3339, to_ms
from pki.errors import BadClock
from pki.ids import Ids
from pki.storage.database import Tx
from pki.storage.statements import Prepared
from pki.storage.tables import audit_events

_COLUMNS = ("id", "namespace_id", "at", "actor", "action", "object", "outcome", "request_id", "detail")
_INSERT = Prepared(insert(audit_events), _COLUMNS)
_LAST = Prepared(select(func.max(audit_events.c.at)))


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
    """Records events; the leaf index of the Merkle log is assigned later, by its sequencer alone.

    `tolerance` is how far the clock may stand behind the last event before nothing that carries a date is made.
    """

    def __init__(self, clock: Clock, ids: Ids, tolerance: timedelta) -> None:
        self._clock = clock
        self._ids = ids
        self._tolerance = tolerance

    def require_forward(self, tx: Tx) -> None:
        """Refuse to go on where the clock has stepped back: what would be signed now would be dated wrongly.

        Raises:
            BadClock: the clock stands before the last event, by more than the tolerance.
        """
        last, now = _LAST.run(tx, {}).fetchone()[0], self._clock.now()
        if last is not None and to_ms(now + self._tolerance) < last:
            raise BadClock(
                f"the clock says {rfc3339(now)}, but something was done here at {rfc3339(from_ms(last))}",
                advice="set the clock; if the later time was the wrong one, raise [authority] clock_tolerance",
            )

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
        _INSERT.run(tx, values)
        return event_id
