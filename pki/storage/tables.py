"""Every table of the house.

Conventions: ids are text of at most 32 characters; `*_at`, `not_before`, `not_after`, `this_update` and `next_update`
are unix milliseconds; digests, key ids and serials are lower-case hex; documents are JSON as text. A row that belongs
to a tenant carries its `namespace_id`. Nothing is nullable unless it says so. A column for a secret is a
`SealedColumn`; every other column is on the reviewed list in `tests/pki/storage/test_columns.py`.

A change here needs a revision in `migrations/versions`; a test compares the two.
"""

from sqlalchemy import (
    BigInteger,
    Boolean,
    Column,
    ForeignKey,
    Index,
    Integer,
    LargeBinary,
    MetaData,
    String,
    Table,
    Text,
    UniqueConstraint,
)

from pki.storage.sealed import SealedColumn

metadata = MetaData(
    naming_convention={
        "ix": "ix_%(table_name)s_%(column_0_N_name)s",
        "uq": "uq_%(table_name)s_%(column_0_N_name)s",
        "fk": "fk_%(table_name)s_%(column_0_N_name)s",
        "pk": "pk_%(table_name)s",
    }
)


def _id(name: str = "id", *, primary_key: bool = False, nullable: bool = False) -> Column[str]:
    return Column(name, String(32), primary_key=primary_key, nullable=nullable)


def _text(name: str, *, nullable: bool = False) -> Column[str]:
    return Column(name, Text, nullable=nullable)


def _name(name: str, length: int = 255, *, primary_key: bool = False, nullable: bool = False) -> Column[str]:
    return Column(name, String(length), primary_key=primary_key, nullable=nullable)


def _hex(name: str, octets: int, *, primary_key: bool = False, nullable: bool = False) -> Column[str]:
    return Column(name, String(octets * 2), primary_key=primary_key, nullable=nullable)


def _ms(name: str, *, nullable: bool = False) -> Column[int]:
    return Column(name, BigInteger, nullable=nullable)


def _octets(name: str, *, nullable: bool = False) -> Column[bytes]:
    return Column(name, LargeBinary, nullable=nullable)


# One value a name for the whole installation, such as the cluster id.
settings = Table(
    "settings",
    metadata,
    _name("name", primary_key=True),
    _text("value"),
)

namespaces = Table(
    "namespaces",
    metadata,
    _id(primary_key=True),
    _name("name"),
    _ms("created_at"),
    UniqueConstraint("name"),
)

# Key-encryption keys: where each is in the HSM. The key itself never leaves it.
keks = Table(
    "keks",
    metadata,
    _id(primary_key=True),
    Column("key_id_hex", String(64), nullable=False),
    _name("label"),
    _name("state", 16),
    _ms("created_at"),
    UniqueConstraint("key_id_hex"),
)

# Data keys, one or more a namespace and mount, wrapped under a KEK.
deks = Table(
    "deks",
    metadata,
    _id(primary_key=True),
    _id("namespace_id"),
    _name("mount"),
    Column("kek_id", String(32), ForeignKey("keks.id"), nullable=False),
    _octets("wrapped"),
    _name("state", 16),
    _ms("created_at"),
    UniqueConstraint("namespace_id", "mount", "id"),
    Index(None, "kek_id"),
)

# Keys of the service itself, such as the one that MACs nonces.
sealed_values = Table(
    "sealed_values",
    metadata,
    _name("name", primary_key=True),
    _id("namespace_id"),
    Column("value", SealedColumn, nullable=False),
)

# Append-only; a leaf index is given once, later, by the sequencer. Triggers refuse anything else.
audit_events = Table(
    "audit_events",
    metadata,
    _id(primary_key=True),
    _id("namespace_id"),
    _ms("at"),
    _text("actor"),
    _name("action"),
    _text("object"),
    _name("outcome", 32),
    _name("request_id", nullable=True),
    _text("detail"),
    Column("leaf_index", BigInteger, nullable=True),
    UniqueConstraint("leaf_index"),
    Index(None, "at"),
)

# CA certificates and where their keys are. kind: root, intermediate. state: reserved, active, retired.
issuers = Table(
    "issuers",
    metadata,
    _id(primary_key=True),
    _id("namespace_id"),
    _name("name"),
    _name("kind", 16),
    _id("parent_id", nullable=True),
    Column("key_id_hex", String(64), nullable=False),
    _name("key_algorithm", 32),
    _octets("certificate", nullable=True),
    _text("subject"),
    _hex("subject_key_id", 32),
    _hex("spki_sha256", 32),
    _ms("not_before"),
    _ms("not_after"),
    _name("state", 16),
    _ms("created_at"),
    UniqueConstraint("namespace_id", "name"),
    Index(None, "spki_sha256"),
    Index(None, "subject_key_id"),
)

profiles = Table(
    "profiles",
    metadata,
    Column("namespace_id", String(32), primary_key=True),
    _name("name", primary_key=True),
    Column("version", Integer, nullable=False),
    _text("document"),
    _ms("created_at"),
)

# Every X.509 signature, reserved before it is made. state: reserved, issued, revoked, abandoned. kind: leaf, ca,
# root, server. Triggers refuse deletion, and change of what was signed.
certificates = Table(
    "certificates",
    metadata,
    _id(primary_key=True),
    _id("namespace_id"),
    _id("issuer_id"),
    _hex("serial", 20),
    _name("state", 16),
    _name("kind", 16),
    _name("profile"),
    _name("requester"),
    _octets("tbs"),
    _hex("tbs_sha256", 32),
    _name("signature_algorithm", 64),
    _octets("certificate", nullable=True),
    _hex("fingerprint", 32, nullable=True),
    _hex("spki_sha256", 32),
    _text("subject"),
    _text("names"),
    _ms("not_before"),
    _ms("not_after"),
    _name("worker"),
    _ms("deadline_at"),
    _ms("reserved_at"),
    _ms("issued_at", nullable=True),
    _ms("revoked_at", nullable=True),
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
    _id("namespace_id"),
    _name("state", 16),
    _octets("tbs"),
    _octets("der", nullable=True),
    _ms("this_update"),
    _ms("next_update"),
    Column("entries", Integer, nullable=False),
    _ms("reserved_at"),
)

# Public keys that no certificate may hold again.
blocked_keys = Table(
    "blocked_keys",
    metadata,
    _hex("spki_sha256", 32, primary_key=True),
    _text("reason"),
    _ms("at"),
)

# Client tokens, by keyed digest only; the id is the accessor. kind: bootstrap, root, service.
tokens = Table(
    "tokens",
    metadata,
    _id(primary_key=True),
    _id("namespace_id"),
    _hex("digest", 32),
    _name("kind", 16),
    _text("policies"),
    _ms("created_at"),
    _ms("expires_at", nullable=True),
    _ms("used_at", nullable=True),
    _ms("revoked_at", nullable=True),
    UniqueConstraint("digest"),
)

job_locks = Table(
    "job_locks",
    metadata,
    _name("name", primary_key=True),
    _name("holder"),
    _ms("until_at"),
)

acme_accounts = Table(
    "acme_accounts",
    metadata,
    _id(primary_key=True),
    _id("namespace_id"),
    _name("profile"),
    _name("thumbprint", 64),
    _text("jwk"),
    _text("contact"),
    _name("status", 16),
    Column("terms_agreed", Boolean, nullable=False),
    _ms("created_at"),
    UniqueConstraint("namespace_id", "profile", "thumbprint"),
)

acme_orders = Table(
    "acme_orders",
    metadata,
    _id(primary_key=True),
    _id("namespace_id"),
    _name("profile"),
    _id("account_id"),
    _text("identifiers"),
    _text("authorizations"),
    _name("status", 16),
    _text("error", nullable=True),
    _id("certificate_id", nullable=True),
    _ms("not_before", nullable=True),
    _ms("not_after", nullable=True),
    _ms("expires_at"),
    _ms("created_at"),
    Column("version", Integer, nullable=False),
    Index(None, "account_id"),
    Index(None, "status", "expires_at"),
)

acme_authorizations = Table(
    "acme_authorizations",
    metadata,
    _id(primary_key=True),
    _id("namespace_id"),
    _name("profile"),
    _id("account_id"),
    _id("order_id"),
    _name("identifier_type", 16),
    _text("identifier_value"),
    Column("wildcard", Boolean, nullable=False),
    _name("status", 16),
    _name("token", 64),
    _text("challenges"),
    _ms("expires_at"),
    _ms("created_at"),
    Column("version", Integer, nullable=False),
    Index(None, "account_id"),
    Index(None, "order_id"),
    Index(None, "status", "expires_at"),
)

acme_spent_nonces = Table(
    "acme_spent_nonces",
    metadata,
    _name("nonce", 128, primary_key=True),
    _ms("expires_at"),
    Index(None, "expires_at"),
)
