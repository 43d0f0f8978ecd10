"""Rows to store, complete and plain, of which a test changes what it is about."""

from typing import Any

from pki.storage.database import Append
from pki.storage.tables import audit_events, certificates, settings


def setting(name: str, value: str = "value") -> Append:
    """Return a row of `settings`."""
    return Append(settings, {"name": name, "value": value})


def certificate(identifier: str, **changes: Any) -> Append:
    """Return a reserved certificate; its serial is its id in hex."""
    values = {
        "id": identifier,
        "namespace_id": "root",
        "issuer_id": "issuer",
        "serial": identifier.encode().hex(),
        "state": "reserved",
        "kind": "leaf",
        "profile": "servers",
        "requester": "tests",
        "tbs": b"\x30\x03tbs",
        "tbs_sha256": "00" * 32,
        "signature_algorithm": "ecdsa-with-SHA256",
        "spki_sha256": "11" * 32,
        "subject": "CN=a.example",
        "names": '["a.example"]',
        "not_before": 1_700_000_000_000,
        "not_after": 1_700_086_400_000,
        "worker": "worker",
        "deadline_at": 1_700_000_060_000,
        "reserved_at": 1_700_000_000_000,
    }
    return Append(certificates, {**values, **changes})


def event(identifier: str, **changes: Any) -> Append:
    """Return an audit event that has no leaf index yet."""
    values = {
        "id": identifier,
        "namespace_id": "root",
        "at": 1_700_000_000_000,
        "actor": "tests",
        "action": "certificate.issue",
        "object": "certificate/1",
        "outcome": "success",
        "detail": "{}",
    }
    return Append(audit_events, {**values, **changes})
