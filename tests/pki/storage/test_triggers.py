"""The ledger and the audit log are append-only in the database itself."""

import pytest
from sqlalchemy import exc

from pki.storage.database import Database
from tests.pki.storage.rows import certificate, event


def _run(database: Database, statement: str) -> None:
    database.write(lambda tx: tx.exec_driver_sql(statement))


@pytest.fixture
def kept(database: Database) -> Database:
    """Give a database with one reserved certificate, one issued, one event and one event in the log."""
    database.append(
        certificate("reserved"),
        certificate("issued", state="issued", certificate=b"der", fingerprint="22" * 32),
        event("fresh"),
        event("logged", leaf_index=0),
    )
    return database


@pytest.mark.parametrize(
    "statement",
    [
        "DELETE FROM certificates",
        "UPDATE certificates SET tbs = NULL WHERE id = 'reserved'",
        "UPDATE certificates SET serial = '00' WHERE id = 'reserved'",
        "UPDATE certificates SET issuer_id = 'other' WHERE id = 'reserved'",
        "UPDATE certificates SET namespace_id = 'other' WHERE id = 'reserved'",
        "UPDATE certificates SET id = 'other' WHERE id = 'reserved'",
        "UPDATE certificates SET certificate = NULL WHERE id = 'issued'",
        "UPDATE certificates SET fingerprint = '00' WHERE id = 'issued'",
        "DELETE FROM audit_events WHERE id = 'fresh'",
        "UPDATE audit_events SET outcome = 'failure' WHERE id = 'fresh'",
        "UPDATE audit_events SET request_id = 'r' WHERE id = 'fresh'",
        "UPDATE audit_events SET leaf_index = 5, at = 0 WHERE id = 'fresh'",
        "UPDATE audit_events SET leaf_index = 5 WHERE id = 'logged'",
        "UPDATE audit_events SET leaf_index = NULL WHERE id = 'logged'",
    ],
)
def test_what_was_signed_or_recorded_stays(kept: Database, statement: str) -> None:
    """L3: deletion and rewriting are refused as constraint errors."""
    with pytest.raises(exc.IntegrityError, match="never"):
        _run(kept, statement)


@pytest.mark.parametrize(
    "statement",
    [
        "UPDATE certificates SET state = 'abandoned' WHERE id = 'reserved'",
        "UPDATE certificates SET state = 'issued', certificate = 'der', fingerprint = 'ff' WHERE id = 'reserved'",
        "UPDATE certificates SET state = 'revoked', revoked_at = 1, revocation_reason = 1 WHERE id = 'issued'",
        "UPDATE audit_events SET leaf_index = 1 WHERE id = 'fresh'",
    ],
)
def test_states_move_on(kept: Database, statement: str) -> None:
    """Issuing, revoking, abandoning and the sequencer's one update are allowed."""
    assert kept.write(lambda tx: tx.exec_driver_sql(statement).rowcount) == 1


def test_a_serial_is_one_issuers_once(kept: Database) -> None:
    """X6: the same serial is refused for the same issuer and allowed for another."""
    kept.append(certificate("again", serial=b"reserved".hex(), issuer_id="other"))
    with pytest.raises(exc.IntegrityError):
        kept.append(certificate("twice", serial=b"reserved".hex()))


def test_two_events_never_share_a_leaf(kept: Database) -> None:
    """L3: a leaf index is given once."""
    with pytest.raises(exc.IntegrityError):
        _run(kept, "UPDATE audit_events SET leaf_index = 0 WHERE id = 'fresh'")
