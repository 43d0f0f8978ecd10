"""The SSH authority: CA keys, roles, and the ledger of every certificate."""

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

# CA keys, which are in the HSM. kind: user, host; a key signs one kind only. state: active, retired.
# public_key is a line of an authorized_keys file (RFC 4253 6.6 in base64).
ssh_issuers = Table(
    "ssh_issuers",
    metadata,
    id_column(primary_key=True),
    id_column("namespace_id"),
    id_column("mount_id"),
    name_column("kind", 16),
    Column("key_id_hex", String(64), nullable=False),
    name_column("key_algorithm", 32),
    text_column("public_key"),
    name_column("state", 16),
    ms_column("created_at"),
    Index(None, "mount_id", "kind"),
)

ssh_roles = Table(
    "ssh_roles",
    metadata,
    Column("mount_id", String(32), primary_key=True),
    name_column("name", 128, primary_key=True),
    id_column("namespace_id"),
    Column("version", Integer, nullable=False),
    text_column("document"),
    ms_column("created_at"),
)

# Every SSH certificate, reserved before it is signed. state: reserved, issued, revoked, abandoned. Triggers refuse
# deletion, and change of what was signed. valid_principals: a JSON list. serial: 63 bits (PROTOCOL.certkeys has 64).
ssh_certificates = Table(
    "ssh_certificates",
    metadata,
    id_column(primary_key=True),
    id_column("namespace_id"),
    id_column("mount_id"),
    id_column("issuer_id"),
    Column("serial", BigInteger, nullable=False),
    name_column("state", 16),
    name_column("kind", 16),
    name_column("role", 128),
    name_column("requester"),
    text_column("key_id"),
    text_column("valid_principals"),
    hex_column("public_key_sha256", 32),
    octets_column("tbs"),
    hex_column("tbs_sha256", 32),
    octets_column("certificate", nullable=True),
    ms_column("not_before"),
    ms_column("not_after"),
    name_column("worker"),
    ms_column("deadline_at"),
    ms_column("reserved_at"),
    ms_column("issued_at", nullable=True),
    ms_column("revoked_at", nullable=True),
    UniqueConstraint("issuer_id", "serial"),
    Index(None, "state", "deadline_at"),
    Index(None, "mount_id", "state", "not_after"),
)
