"""The audit event of a login that failed: what the answer does not tell, the log does."""

from typing import Any

from pki.audit.trail import Event, Trail
from pki.operations.call import Call
from pki.storage.database import Tx

_ACTOR = "anonymous"


def record_refusal(trail: Trail, tx: Tx, call: Call, about: str, **detail: Any) -> None:
    """Record a failed login in `tx`, where its counters are: `about` is the role or user as far as there is one.

    What a stranger typed never enters the log: a password is soon typed where a name belongs.
    """
    facts = {**detail, "remote": call.remote}
    action = f"{call.mount.type}.login"
    trail.record(tx, Event(_ACTOR, action, about, "refused", facts, call.request_id, call.mount.namespace_id))
