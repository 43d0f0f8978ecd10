"""What leaves the HTTP API: the envelope of the Vault HTTP API, refusals, and octets that are no JSON."""

from collections.abc import Mapping
from dataclasses import dataclass
from datetime import timedelta
from http import HTTPStatus
from typing import Any

import msgspec
import orjson

from pki.api.errors import ABSENT, CONTENT_TYPE, Refusal
from pki.operations.call import Auth, Reply
from pki.operations.declare import Verb

_READS = frozenset({Verb.READ, Verb.LIST})
_NOTHING = Reply()


@dataclass(frozen=True, slots=True)
class Answer:
    """A status, a body and its content type; `action` is what was done, for the counters."""

    status: int
    body: bytes = b""
    content_type: str = CONTENT_TYPE
    retry_after: int | None = None
    action: str = ""


def of_refusal(refusal: Refusal, request_id: str, action: str) -> Answer:
    """Return the answer that tells of a refusal."""
    return Answer(refusal.status, refusal.body(request_id), CONTENT_TYPE, refusal.retry_after, action)


def of_reply(reply: Reply | None, request_id: str, verb: Verb, action: str) -> Answer:
    """Return the answer that carries what an operation replied; nothing is 204, and 404 where something was read."""
    if reply is None and verb in _READS:
        return of_refusal(ABSENT, request_id, action)
    reply = reply or _NOTHING
    if reply.raw is not None:
        content_type, octets = reply.raw
        return Answer(reply.status or HTTPStatus.OK, octets, content_type, action=action)
    if reply.data is None and reply.auth is None and not reply.warnings:
        if reply.absent:
            return of_refusal(ABSENT, request_id, action)
        if not reply.accepted:
            return Answer(reply.status or HTTPStatus.NO_CONTENT, action=action)
    body = orjson.dumps(_envelope(reply, request_id), default=_plain, option=orjson.OPT_UTC_Z)
    return Answer(reply.status or _status(reply), body, action=action)


def _status(reply: Reply) -> int:
    if reply.absent:
        return HTTPStatus.NOT_FOUND
    return HTTPStatus.ACCEPTED if reply.accepted else HTTPStatus.OK


def _envelope(reply: Reply, request_id: str) -> dict[str, Any]:
    """Return all eight members, null where there is nothing, as clients of that API expect them."""
    envelope: dict[str, Any] = {
        "request_id": request_id,
        "lease_id": "",
        "renewable": False,
        "lease_duration": 0,
        "data": reply.data,
        "wrap_info": None,
        "warnings": list(reply.warnings) or None,
        "auth": None if reply.auth is None else _auth(reply.auth),
    }
    return {**reply.data, **envelope} if reply.also_flat and reply.data else envelope


def _auth(auth: Auth) -> dict[str, Any]:
    return {
        "client_token": auth.client_token,
        "accessor": auth.accessor,
        "policies": list(auth.policies),
        "token_policies": list(auth.policies),
        "identity_policies": None,
        "metadata": dict(auth.metadata) or None,
        "lease_duration": auth.lease_duration,
        "renewable": auth.renewable,
        "entity_id": auth.entity_id,
        "token_type": "service",
        "orphan": auth.orphan,
        "mfa_requirement": None,
        "num_uses": auth.num_uses,
    }


def _plain(value: object) -> object:
    """Return what orjson can write for a type that it does not know."""
    if isinstance(value, timedelta):
        return int(value.total_seconds())
    if isinstance(value, Mapping):
        return dict(value)
    if isinstance(value, (tuple, list)):
        return list(value)
    if isinstance(value, (set, frozenset)):
        return sorted(value)
    if isinstance(value, msgspec.Struct):
        return msgspec.to_builtins(value, enc_hook=_plain)
    raise TypeError(f"{type(value).__name__} is no JSON")
