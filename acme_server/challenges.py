"""Challenges: taken up by the client, validated by a thread of the pool, and settled (RFC 8555 7.5.1, 8).

A challenge is written as `processing` before its validation begins. If the worker then dies, the duties find it and
begin again. A result counts only while the authorization is still pending.
"""

import logging
from collections.abc import Mapping
from dataclasses import replace
from datetime import datetime, timedelta
from functools import partial
from typing import Any

from acme_server import store
from acme_server.door import Door
from acme_server.problems import Problem, ProblemType, malformed
from acme_server.records import Account, Authorization, Challenge
from acme_server.validation import VALIDATORS, ValidationFailed
from pki.audit.trail import Event
from pki.errors import Conflict, RateLimited
from pki.storage.database import Tx

logger = logging.getLogger("sealward.acme.validation")

_PATIENCE = timedelta(seconds=30)
"""How long after a validation's deadline its worker is taken for dead."""
_RESTART_LIMIT = 100
_BUSY_SECONDS = 10


def respond(door: Door, account: Account, authorization_id: str, challenge_type: str) -> Authorization:
    """Begin the validation of a pending challenge, and wait a moment for its end; a later challenge is left as it is.

    Raises:
        NotFound: the account has no such authorization, or it does not offer such a challenge.
        Problem: malformed: the authorization is not pending any more.
        RateLimited: too many validations of this account, or of all, are waiting already.
    """
    if not door.validations.has_room(account.id):
        raise RateLimited("too many validations are waiting", retry_after=_BUSY_SECONDS, advice="try again then")

    def work(tx: Tx) -> tuple[Authorization, bool]:
        now = door.clock.now()
        before = store.get_authorization(tx, account, authorization_id)
        challenge = before.challenge(challenge_type)
        if challenge.status != "pending":
            return before, False
        status = before.status_at(now)
        if status != "pending":
            raise malformed(f"the authorization is {status}; its challenges can't be taken up any more")
        after = before.with_challenge(replace(challenge, status="processing", changed_at=now))
        store.change_authorization(tx, before, after)
        event = Event(f"acme:{account.id}", "acme.challenge.respond", before.id, detail={"type": challenge_type})
        door.trail.record(tx, event)
        return after, True

    authorization, begun = store.swap(door.database, work)
    if not begun:
        return authorization
    job = partial(validate, door, authorization, challenge_type, account.thumbprint)
    ended = door.validations.submit(account.id, job)
    # Most validations take some milliseconds, and a client that reads "processing" comes back after a second.
    if door.validations.linger(ended):
        return store.get_authorization(door.database, account, authorization_id)
    return authorization


def validate(door: Door, authorization: Authorization, challenge_type: str, thumbprint: str) -> None:
    """Check the challenge, within the validation's deadline, and record the result."""
    key_authorization = f"{authorization.token}.{thumbprint}"
    problem: Problem | None = None
    try:
        validator = VALIDATORS[challenge_type]
        validator(authorization.identifier, authorization.token, key_authorization, door.validation)
    except ValidationFailed as failure:
        problem = failure.to_problem()
    except Exception:
        logger.exception("the %s validation of authorization %s failed unexpectedly", challenge_type, authorization.id)
        problem = Problem(ProblemType.SERVER_INTERNAL, "the server could not carry the validation out")
    _settle(door, authorization.id, challenge_type, None if problem is None else problem.to_document())


def _settle(door: Door, authorization_id: str, challenge_type: str, error: Mapping[str, Any] | None) -> None:
    status = "valid" if error is None else "invalid"

    def work(tx: Tx) -> None:
        now = door.clock.now()
        before = store.find_authorization(tx, authorization_id)
        if before is None or before.status_at(now) != "pending":
            return
        challenge = before.challenge(challenge_type)
        if challenge.status != "processing":
            return
        settled = replace(challenge, status=status, changed_at=now, error=error)
        store.change_authorization(tx, before, before.with_challenge(settled, status))
        if error is not None:
            store.fail_order(tx, before.order_id, error)
        identifier = before.identifier
        detail: dict[str, object] = {"type": challenge_type, "name": f"{identifier.type}:{identifier.value}"}
        if error is not None:
            detail["error"] = error["type"]
        door.trail.record(tx, Event("house:acme", f"acme.authorization.{status}", before.id, detail=detail))

    store.swap(door.database, work)


def restart_stuck(door: Door) -> int:
    """Begin again the validations whose worker died; return how many."""
    now = door.clock.now()
    overdue = now - timedelta(seconds=door.validation.deadline) - _PATIENCE
    with door.database.read() as tx:
        found = store.stuck_authorizations(tx, now, overdue, _RESTART_LIMIT)
    return sum(_restart(door, item, overdue) for item in found)


def _restart(door: Door, authorization: Authorization, overdue: datetime) -> int:
    account = store.find_account(door.database, authorization.profile, account_id=authorization.account_id)
    late = [item for item in authorization.challenges if _is_overdue(item, overdue)]
    if account is None or not late:
        return 0
    after = authorization
    for item in late:
        after = after.with_challenge(replace(item, changed_at=door.clock.now()))
    try:
        door.database.write(lambda tx: store.change_authorization(tx, authorization, after))
    except Conflict:  # settled meanwhile, or restarted by another
        return 0
    for item in late:
        door.validations.submit(account.id, partial(validate, door, after, item.type, account.thumbprint))
    return len(late)


def _is_overdue(challenge: Challenge, overdue: datetime) -> bool:
    return challenge.status == "processing" and challenge.changed_at is not None and challenge.changed_at <= overdue
