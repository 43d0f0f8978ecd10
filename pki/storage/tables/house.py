"""The installation itself: settings, namespaces, keys of the vault, the audit log, elections."""

from sqlalchemy import BigInteger, Column, ForeignKey, Index, String, Table, UniqueConstraint

from pki.storage.sealed import SealedColumn
from pki.storage.tables.columns import id_column, metadata, ms_column, name_column, octets_column, text_column

# One value a name for the whole installation, such as the cluster id.
settings = Table(
    "settings",
    metadata,
    name_column("name", primary_key=True),
    text_column("value"),
)

namespaces = Table(
    "namespaces",
    metadata,
    id_column(primary_key=True),
    name_column("name"),
    ms_column("created_at"),
    UniqueConstraint("name"),
)

# Key-encryption keys: where each is in the HSM. The key itself never leaves it.
keks = Table(
    "keks",
    metadata,
    id_column(primary_key=True),
    Column("key_id_hex", String(64), nullable=False),
    name_column("label"),
    name_column("state", 16),
    ms_column("created_at"),
    UniqueConstraint("key_id_hex"),
)

# Data keys, one or more a namespace and mount, wrapped under a KEK.
deks = Table(
    "deks",
    metadata,
    id_column(primary_key=True),
    id_column("namespace_id"),
    name_column("mount"),
    Column("kek_id", String(32), ForeignKey("keks.id"), nullable=False),
    octets_column("wrapped"),
    name_column("state", 16),
    ms_column("created_at"),
    UniqueConstraint("namespace_id", "mount", "id"),
    Index(None, "kek_id"),
)

# Keys of the service itself, such as the one that MACs nonces.
sealed_values = Table(
    "sealed_values",
    metadata,
    name_column("name", primary_key=True),
    id_column("namespace_id"),
    Column("value", SealedColumn, nullable=False),
)

# Append-only; a leaf index is given once, later, by the sequencer. Triggers refuse anything else.
audit_events = Table(
    "audit_events",
    metadata,
    id_column(primary_key=True),
    id_column("namespace_id"),
    ms_column("at"),
    text_column("actor"),
    name_column("action"),
    text_column("object"),
    name_column("outcome", 32),
    name_column("request_id", nullable=True),
    text_column("detail"),
    Column("leaf_index", BigInteger, nullable=True),
    UniqueConstraint("leaf_index"),
    Index(None, "at"),
)

job_locks = Table(
    "job_locks",
    metadata,
    name_column("name", primary_key=True),
    name_column("holder"),
    ms_column("until_at"),
)
