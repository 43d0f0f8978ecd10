"""The X.509 authority: issuers, profiles, and the ledger of everything it ever signed."""

from sqlalchemy import BigInteger, Column, Index, Integer, String, Table, UniqueConstraint

from pki.storage.tables.columns import (
    hex_column,
    id_column,
    metadata,
    ms_column,
    name_column,
    octets_column,
    text_column,
)

# CA certificates and where their keys are. kind: root, intermediate. state: reserved, active, retired.
issuers = Table(
    "issuers",
    metadata,
    id_column(primary_key=True),
    id_column("namespace_id"),
    name_column("name"),
    name_column("kind", 16),
    id_column("parent_id", nullable=True),
    Column("key_id_hex", String(64), nullable=False),
    name_column("key_algorithm", 32),
    octets_column("certificate", nullable=True),
    text_column("subject"),
    hex_column("subject_key_id", 32),
    hex_column("spki_sha256", 32),
    ms_column("not_before"),
    ms_column("not_after"),
    name_column("state", 16),
    ms_column("created_at"),
    UniqueConstraint("namespace_id", "name"),
    Index(None, "spki_sha256"),
    Index(None, "subject_key_id"),
)

profiles = Table(
    "profiles",
    metadata,
    Column("namespace_id", String(32), primary_key=True),
    name_column("name", primary_key=True),
    Column("version", Integer, nullable=False),
    text_column("document"),
    ms_column("created_at"),
)

# Every X.509 signature, reserved before it is made. state: reserved, issued, revoked, abandoned. kind: leaf, ca,
# root, server. Triggers refuse deletion, and change of what was signed.
certificates = Table(
    "certificates",
    metadata,
    id_column(primary_key=True),
    id_column("namespace_id"),
    id_column("issuer_id"),
    hex_column("serial", 20),
    name_column("state", 16),
    name_column("kind", 16),
    name_column("profile"),
    name_column("requester"),
    octets_column("tbs"),
    hex_column("tbs_sha256", 32),
    name_column("signature_algorithm", 64),
    octets_column("certificate", nullable=True),
    hex_column("fingerprint", 32, nullable=True),
    hex_column("spki_sha256", 32),
    text_column("subject"),
    text_column("names"),
    ms_column("not_before"),
    ms_column("not_after"),
    name_column("worker"),
    ms_column("deadline_at"),
    ms_column("reserved_at"),
    ms_column("issued_at", nullable=True),
    ms_column("revoked_at", nullable=True),
    Column("revocation_reason", Integer, nullable=True),
    UniqueConstraint("issuer_id", "serial"),
    Index(None, "fingerprint"),
    Index(None, "spki_sha256"),
    Index(None, "state", "deadline_at"),
    Index(None, "issuer_id", "state", "not_after"),
    Index(None, "requester"),
)

# state: reserved, published, abandoned.
crls = Table(
    "crls",
    metadata,
    Column("issuer_id", String(32), primary_key=True),
    Column("number", BigInteger, primary_key=True, autoincrement=False),
    id_column("namespace_id"),
    name_column("state", 16),
    octets_column("tbs"),
    octets_column("der", nullable=True),
    ms_column("this_update"),
    ms_column("next_update"),
    Column("entries", Integer, nullable=False),
    ms_column("reserved_at"),
)

# Public keys that no certificate may hold again.
blocked_keys = Table(
    "blocked_keys",
    metadata,
    hex_column("spki_sha256", 32, primary_key=True),
    text_column("reason"),
    ms_column("at"),
)
