"""What the service's own PostgreSQL role may do: nothing that rewrites the ledger or the audit log.

The role that owns the tables runs `sealward migrate` and `sealward init`; the service runs as another, which can
neither delete nor change what was issued or logged, nor switch off the triggers that say the same. On SQLite, where a
file has no roles, the triggers stand alone.
"""

from collections.abc import Iterator, Mapping
from types import MappingProxyType

from sqlalchemy import text

from pki.errors import Misconfigured
from pki.storage.database import Database, Tx
from pki.storage.tables import metadata

_CHANGEABLE: Mapping[str, tuple[str, ...]] = MappingProxyType(
    {
        "certificates": (
            "state",
            "certificate",
            "fingerprint",
            "worker",
            "deadline_at",
            "issued_at",
            "revoked_at",
            "revocation_reason",
        ),
        "audit_events": ("leaf_index",),
        "crls": ("state", "der"),
        "blocked_keys": (),
        "namespaces": (),
        "settings": (),
        "ssh_certificates": ("state", "certificate", "worker", "deadline_at", "issued_at", "revoked_at"),
    }
)
"""The columns that the service may change, for the tables in which it may not change all."""

_DELETABLE = frozenset(
    {
        "acme_spent_nonces",
        "approle_roles",
        "approle_secret_ids",
        "deks",
        "kv_secrets",
        "kv_versions",
        "mounts",
        "policies",
        "profiles",
        "ssh_roles",
        "tokens",
        "userpass_users",
    }
)
_MIGRATIONS = "alembic_version"


def grant(database: Database, role: str) -> None:
    """Give `role` what the service needs of every table, and take all else from it.

    Raises:
        Misconfigured: the database is SQLite, or there is no such role.
    """
    if database.dialect != "postgresql":
        raise Misconfigured("a SQLite file knows no roles", advice="leave --grant out; triggers protect the ledger")
    statements = list(_statements(_quoted(role)))

    def work(tx: Tx) -> None:
        found = tx.execute(text("SELECT rolsuper FROM pg_roles WHERE rolname = :role"), {"role": role}).first()
        if found is None:
            raise Misconfigured(f"there is no role {role!a}", advice="make it with CREATE ROLE ... LOGIN first")
        if found[0]:
            raise Misconfigured(f"{role!a} is a superuser, whom no grant bounds", advice="name an ordinary role")
        for statement in statements:
            tx.execute(text(statement))

    database.write(work)


def _quoted(role: str) -> str:
    return '"{}"'.format(role.replace('"', '""'))


def _statements(role: str) -> Iterator[str]:
    yield f"REVOKE ALL ON ALL TABLES IN SCHEMA public FROM {role}"
    yield f"GRANT USAGE ON SCHEMA public TO {role}"
    yield f"GRANT SELECT ON {_MIGRATIONS} TO {role}"
    for table in metadata.sorted_tables:
        yield f"GRANT SELECT, INSERT ON {table.name} TO {role}"
        columns = _CHANGEABLE.get(table.name)
        if columns is None:
            yield f"GRANT UPDATE ON {table.name} TO {role}"
        elif columns:
            yield f"GRANT UPDATE ({', '.join(columns)}) ON {table.name} TO {role}"
        if table.name in _DELETABLE:
            yield f"GRANT DELETE ON {table.name} TO {role}"
