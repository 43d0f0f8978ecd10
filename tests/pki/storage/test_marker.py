"""A sealed value is found nowhere in what the database keeps on disk, in any encoding."""

import base64
import os
import secrets
from collections.abc import Iterator
from pathlib import Path

import pytest
from sqlalchemy import select, update

from pki.clock import SystemClock
from pki.seal.kek import HsmKek
from pki.seal.keyring import Keyring
from pki.storage.database import Append, Database, Tx
from pki.storage.tables import deks, keks, sealed_values
from tests.pki.storage.rows import setting


def _encodings(marker: bytes) -> dict[str, bytes]:
    """Return the marker in every form in which it could have been stored; base64 at each of its three alignments."""
    forms = {
        "raw": marker,
        "hex": marker.hex().encode(),
        "HEX": marker.hex().upper().encode(),
        "utf-16-le": marker.decode().encode("utf-16-le"),
        "utf-16-be": marker.decode().encode("utf-16-be"),
    }
    for shift in range(3):
        for name, encode in (("base64", base64.b64encode), ("base64url", base64.urlsafe_b64encode)):
            forms[f"{name}+{shift}"] = encode(b"\0" * shift + marker)[4 if shift else 0 : -4]
    return forms


def _files(database: Database) -> Iterator[Path]:
    """Give every file that the database keeps: on PostgreSQL, the whole server's, its write-ahead log included."""
    if database.dialect == "sqlite":
        folder = Path(database.url.database or "").parent
    else:
        database.write(lambda tx: tx.exec_driver_sql("SELECT pg_switch_wal()"))
        folder = Path(database.write(lambda tx: str(tx.exec_driver_sql("SHOW data_directory").scalar_one())))
    yield from (file for file in folder.rglob("*") if file.is_file())


def _found(database: Database, marker: bytes) -> set[str]:
    forms = _encodings(marker)
    found: set[str] = set()
    for file in _files(database):
        content = file.read_bytes()
        found |= {name for name, form in forms.items() if form in content}
    return found


def test_sealed_marker_is_nowhere_on_disk(database: Database, kek: HsmKek) -> None:
    """A01: raw, hex, base64, UTF-16: nothing in the database's files or its log; a plain one is found."""
    if database.dialect == "postgresql" and os.environ.get("SEALWARD_TEST_POSTGRES"):
        pytest.skip("missing: the files of the server that SEALWARD_TEST_POSTGRES names; unset it to search our own's")
    plain, sealed_first, sealed_later = (secrets.token_hex(20).encode() for _ in range(3))
    keyring = Keyring([kek], "cluster", SystemClock())
    dek = keyring.new_dek("dek1", "root", "service", kek.id)
    first, later = (keyring.seal("dek1", marker, "nonces") for marker in (sealed_first, sealed_later))
    database.append(
        Append(keks, {"id": kek.id, "key_id_hex": "00", "label": "kek", "state": "active", "created_at": 0}),
        Append(deks, dek.row(0)),
        Append(sealed_values, {"name": "nonces", "namespace_id": "root", "value": first}),
        setting("plain", plain.decode()),
    )

    def replace(tx: Tx) -> None:
        tx.execute(update(sealed_values).values(value=later))

    database.write(replace)
    with database.read() as tx:
        stored = tx.execute(select(sealed_values.c.value)).scalar_one()
    assert keyring.open(stored, "nonces") == sealed_later
    assert _found(database, plain) == {"raw"}, "the search itself works"
    assert _found(database, sealed_first) == set()
    assert _found(database, sealed_later) == set()
