"""The audit log, read: `sys/log/events`. And `sys/audit`, which names no device: none is made over the API (S4)."""

from datetime import UTC, datetime

from pki.api.system.family import Family
from pki.audit.events import LIMIT, Filter, Recorded
from pki.clock import Clock
from pki.errors import Malformed, Rejected
from pki.operations.call import Call, Reply, when
from pki.operations.declare import NoBody, Verb, operation
from pki.operations.wire import Span

_TEXTS = ("actor", "action", "object", "outcome", "request_id", "after")
_KNOWN = frozenset({*_TEXTS, "since", "limit", "list"})
_USUAL_LIMIT = 100


class Log(Family):
    """Reads the audit log."""

    @operation(Verb.READ, "log/events")
    def read_log(self, call: Call, body: NoBody) -> Reply:  # noqa: ARG002 - every operation takes a body
        """Read events of the audit log, the newest last.

        The query narrows: `actor` and `object` by how they begin, `action`, `outcome` and `request_id` exactly,
        `since` (RFC 3339, or how long ago), `limit` (1 to 1000), `after` (an event's id: those after it).
        """
        events = self._rooms.events.find(call.mount.namespace_id, _filter(call, self._rooms.clock))
        return Reply({"events": [_document(event) for event in events]})

    @operation(Verb.LIST, "log/events")
    def list_log(self, call: Call, body: NoBody) -> Reply:  # noqa: ARG002
        """List the ids of events, by the same query, with what is known of each."""
        events = self._rooms.events.find(call.mount.namespace_id, _filter(call, self._rooms.clock))
        if not events:
            return Reply(absent=True)
        return Reply(
            {"keys": [event.id for event in events], "key_info": {item.id: _document(item) for item in events}}
        )

    @operation(Verb.READ, "audit", sudo=True)
    def list_audit_devices(self, call: Call, body: NoBody) -> Reply:  # noqa: ARG002
        """List the audit devices: none beside the log in the database, in which everything is."""
        return Reply({}, also_flat=True)

    @operation(Verb.UPDATE, "audit/<path:path>", sudo=True)
    @operation(Verb.DELETE, "audit/<path:path>", sudo=True)
    def refuse_audit_device(self, call: Call, body: NoBody, path: str) -> None:  # noqa: ARG002
        """Refuse: whoever may make audit devices may write files where he likes."""
        raise Rejected(
            "audit devices are not made or removed over the API",
            "unsupported",
            advice="every event is in the log: read sys/log/events",
        )


def _filter(call: Call, clock: Clock) -> Filter:
    for name in call.query.keys() - _KNOWN:
        raise Malformed(f"the log cannot be filtered by {name!a}", advice=f"by {', '.join(sorted(_KNOWN))}")
    limit = call.query.get("limit", "") or str(_USUAL_LIMIT)
    if not (limit.isascii() and limit.isdecimal() and 1 <= int(limit[:5]) <= LIMIT):
        raise Malformed(f"limit is a number from 1 to {LIMIT}")
    texts = {name: call.query.get(name, "") for name in _TEXTS}
    return Filter(**texts, since=_since(call.query.get("since", ""), clock), limit=int(limit))


def _since(text: str, clock: Clock) -> datetime | None:
    if not text:
        return None
    try:
        if text[:1].isdigit() and "-" not in text:
            return clock.now() - Span.parse(text)
        moment = datetime.fromisoformat(text)
        return (moment if moment.tzinfo else moment.replace(tzinfo=UTC)).astimezone(UTC)
    except (ValueError, OverflowError):
        raise Malformed("since is no time", advice="write 2026-11-25T08:00:00Z, or how long ago: 2h") from None


def _document(event: Recorded) -> dict[str, object]:
    return {
        "id": event.id,
        "at": when(event.at),
        "actor": event.actor,
        "action": event.action,
        "object": event.object,
        "outcome": event.outcome,
        "request_id": event.request_id,
        "detail": event.detail,
        "leaf_index": event.leaf_index,
    }
