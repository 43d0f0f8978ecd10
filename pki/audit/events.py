"""Read the audit log: the events that match, the newest first or those after one already seen."""

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from datetime import datetime
from typing import Any

import orjson
from sqlalchemy import Row, Select, and_, func, or_, select

from pki.clock import from_ms, to_ms
from pki.errors import NotFound
from pki.storage.database import Database
from pki.storage.tables import audit_events

LIMIT = 1000


@dataclass(frozen=True, slots=True)
class Recorded:
    """An event as it was recorded; `leaf_index` is its place in the log, None until the sequencer gave it one."""

    id: str
    at: datetime
    actor: str
    action: str
    object: str
    outcome: str
    request_id: str | None
    detail: Mapping[str, Any]
    leaf_index: int | None


@dataclass(frozen=True, slots=True)
class Filter:
    """What to find: `actor` and `object` by how they begin, the others as they are; an empty text is any.

    `after` is the id of an event; the first of those with a later time are found. Without it the last of all are.
    """

    actor: str = ""
    action: str = ""
    object: str = ""
    outcome: str = ""
    request_id: str = ""
    since: datetime | None = None
    after: str = ""
    limit: int = 100


class Events:
    """Finds events in one namespace."""

    def __init__(self, database: Database) -> None:
        self._database = database

    def find(self, namespace_id: str, wanted: Filter) -> list[Recorded]:
        """Return what matches, the newest last, `wanted.limit` events at most.

        Raises:
            NotFound: there is no event `wanted.after`.
        """
        columns = audit_events.c
        query = select(audit_events).where(columns.namespace_id == namespace_id, *_conditions(wanted))
        with self._database.read() as tx:
            if wanted.after:
                found = tx.execute(select(columns.at).where(columns.id == wanted.after)).first()
                if found is None:
                    raise NotFound("there is no such event", advice="leave `after` out to begin anew")
                is_later = or_(columns.at > found.at, and_(columns.at == found.at, columns.id > wanted.after))
                rows = tx.execute(_ordered(query.where(is_later), newest=False).limit(wanted.limit)).all()
                return [_recorded(row) for row in rows]
            rows = tx.execute(_ordered(query, newest=True).limit(wanted.limit)).all()
        return [_recorded(row) for row in reversed(rows)]


def _conditions(wanted: Filter) -> Iterator[Any]:
    columns = audit_events.c
    if wanted.since is not None:
        yield columns.at >= to_ms(wanted.since)
    for column, beginning in ((columns.actor, wanted.actor), (columns.object, wanted.object)):
        if beginning:
            yield func.substr(column, 1, len(beginning)) == beginning  # LIKE does not tell a from A everywhere
    for column, value in (
        (columns.action, wanted.action),
        (columns.outcome, wanted.outcome),
        (columns.request_id, wanted.request_id),
    ):
        if value:
            yield column == value


def _ordered(query: Select[Any], *, newest: bool) -> Select[Any]:
    at, identity = audit_events.c.at, audit_events.c.id
    return query.order_by(at.desc(), identity.desc()) if newest else query.order_by(at, identity)


def _recorded(row: Row[Any]) -> Recorded:
    return Recorded(
        id=row.id,
        at=from_ms(row.at),
        actor=row.actor,
        action=row.action,
        object=row.object,
        outcome=row.outcome,
        request_id=row.request_id,
        detail=orjson.loads(row.detail),
        leaf_index=row.leaf_index,
    )
