"""Stored secrets: where each is, and its versions, sealed."""

from sqlalchemy import Boolean, Column, Integer, String, Table, UniqueConstraint

from pki.storage.sealed import SealedColumn
from pki.storage.tables.columns import hex_column, id_column, metadata, ms_column, name_column, text_column

# A path and the id of what is kept there; mac binds the one to the other, so that rows cannot be exchanged.
# max_versions 0 and delete_after 0: as the mount says. custom_metadata: a JSON object of texts, in clear.
kv_secrets = Table(
    "kv_secrets",
    metadata,
    id_column(primary_key=True),
    id_column("namespace_id"),
    id_column("mount_id"),
    name_column("path", 1024),
    hex_column("mac", 32),
    Column("current_version", Integer, nullable=False),
    Column("oldest_version", Integer, nullable=False),
    Column("max_versions", Integer, nullable=False),
    Column("cas_required", Boolean, nullable=False),
    ms_column("delete_after"),
    text_column("custom_metadata"),
    ms_column("created_at"),
    ms_column("updated_at"),
    UniqueConstraint("mount_id", "path"),
)

# value is null once it is destroyed; deleted_at may lie ahead, and may be taken back.
kv_versions = Table(
    "kv_versions",
    metadata,
    Column("secret_id", String(32), primary_key=True),
    Column("version", Integer, primary_key=True, autoincrement=False),
    id_column("namespace_id"),
    Column("value", SealedColumn, nullable=True),
    ms_column("created_at"),
    ms_column("deleted_at", nullable=True),
    ms_column("destroyed_at", nullable=True),
)
