"""The objects of RFC 8555 7.1."""

from sqlalchemy import Boolean, Column, Index, Integer, Table, UniqueConstraint

from pki.storage.tables.columns import id_column, metadata, ms_column, name_column, text_column

acme_accounts = Table(
    "acme_accounts",
    metadata,
    id_column(primary_key=True),
    id_column("namespace_id"),
    name_column("profile"),
    name_column("thumbprint", 64),
    text_column("jwk"),
    text_column("contact"),
    name_column("status", 16),
    Column("terms_agreed", Boolean, nullable=False),
    ms_column("created_at"),
    UniqueConstraint("namespace_id", "profile", "thumbprint"),
)

acme_orders = Table(
    "acme_orders",
    metadata,
    id_column(primary_key=True),
    id_column("namespace_id"),
    name_column("profile"),
    id_column("account_id"),
    text_column("identifiers"),
    text_column("authorizations"),
    name_column("status", 16),
    text_column("error", nullable=True),
    id_column("certificate_id", nullable=True),
    ms_column("not_before", nullable=True),
    ms_column("not_after", nullable=True),
    ms_column("expires_at"),
    ms_column("created_at"),
    Column("version", Integer, nullable=False),
    Index(None, "account_id"),
    Index(None, "status", "expires_at"),
)

acme_authorizations = Table(
    "acme_authorizations",
    metadata,
    id_column(primary_key=True),
    id_column("namespace_id"),
    name_column("profile"),
    id_column("account_id"),
    id_column("order_id"),
    name_column("identifier_type", 16),
    text_column("identifier_value"),
    Column("wildcard", Boolean, nullable=False),
    name_column("status", 16),
    name_column("token", 64),
    text_column("challenges"),
    ms_column("expires_at"),
    ms_column("created_at"),
    Column("version", Integer, nullable=False),
    Index(None, "account_id"),
    Index(None, "order_id"),
    Index(None, "status", "expires_at"),
)

acme_spent_nonces = Table(
    "acme_spent_nonces",
    metadata,
    name_column("nonce", 128, primary_key=True),
    ms_column("expires_at"),
    Index(None, "expires_at"),
)
