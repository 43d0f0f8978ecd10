"""Who may do what: mounts, policies, tokens, and the credentials of the auth methods."""

from sqlalchemy import BigInteger, Boolean, Column, Index, Integer, String, Table, UniqueConstraint

from pki.storage.tables.columns import hex_column, id_column, metadata, ms_column, name_column, text_column

# Counters that tell a process that what it remembers has changed. name: access (mounts, policies, tokens).
epochs = Table(
    "epochs",
    metadata,
    name_column("name", 32, primary_key=True),
    Column("value", BigInteger, nullable=False),
)

# Path prefixes and what serves them. kind: secret, auth. path ends in a slash; an auth method begins with auth/.
mounts = Table(
    "mounts",
    metadata,
    id_column(primary_key=True),
    id_column("namespace_id"),
    name_column("path"),
    name_column("kind", 16),
    name_column("type", 32),
    text_column("description"),
    text_column("options"),
    text_column("tuning"),
    Column("version", Integer, nullable=False),
    ms_column("created_at"),
    UniqueConstraint("namespace_id", "path"),
)

policies = Table(
    "policies",
    metadata,
    Column("namespace_id", String(32), primary_key=True),
    name_column("name", 128, primary_key=True),
    Column("version", Integer, nullable=False),
    text_column("document"),
    ms_column("created_at"),
)

# Client tokens, by keyed digest only; the id is the accessor. kind: bootstrap, root, service. lifetime is how long it
# was made for, and renewals add no more; max_expires_at is what no renewal passes. uses_left null: any number.
tokens = Table(
    "tokens",
    metadata,
    id_column(primary_key=True),
    id_column("namespace_id"),
    hex_column("digest", 32),
    name_column("kind", 16),
    name_column("display_name"),
    name_column("path"),
    text_column("policies"),
    text_column("metadata"),
    id_column("parent_id", nullable=True),
    ms_column("lifetime"),
    Column("renewable", Boolean, nullable=False),
    Column("uses_left", Integer, nullable=True),
    ms_column("created_at"),
    ms_column("expires_at", nullable=True),
    ms_column("max_expires_at", nullable=True),
    ms_column("used_at", nullable=True),
    ms_column("revoked_at", nullable=True),
    UniqueConstraint("digest"),
    Index(None, "parent_id"),
    Index(None, "expires_at"),
)

approle_roles = Table(
    "approle_roles",
    metadata,
    Column("mount_id", String(32), primary_key=True),
    name_column("name", 128, primary_key=True),
    id_column("namespace_id"),
    name_column("role_id", 128),
    Column("version", Integer, nullable=False),
    text_column("document"),
    ms_column("created_at"),
    UniqueConstraint("mount_id", "role_id"),
)

# Secret-ids, by keyed digest only; the id is the accessor. uses_left null: any number.
approle_secret_ids = Table(
    "approle_secret_ids",
    metadata,
    id_column(primary_key=True),
    id_column("namespace_id"),
    id_column("mount_id"),
    name_column("role", 128),
    hex_column("digest", 32),
    text_column("metadata"),
    text_column("networks"),
    Column("uses_left", Integer, nullable=True),
    ms_column("created_at"),
    ms_column("expires_at", nullable=True),
    UniqueConstraint("digest"),
    Index(None, "mount_id", "role"),
)

# verifier: an argon2id string, from which no password can be had but by trying.
userpass_users = Table(
    "userpass_users",
    metadata,
    Column("mount_id", String(32), primary_key=True),
    name_column("name", 128, primary_key=True),
    id_column("namespace_id"),
    text_column("verifier"),
    Column("version", Integer, nullable=False),
    text_column("document"),
    Column("failures", Integer, nullable=False),
    ms_column("failed_at", nullable=True),
    ms_column("created_at"),
)
