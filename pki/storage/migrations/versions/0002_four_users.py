"""Add what administrators, people and applications need: mounts, policies, credentials, SSH, stored secrets."""

from typing import Any

import sqlalchemy as sa
from alembic import op

revision = "0002"
down_revision = "0001"
branch_labels = None
depends_on = None


def upgrade() -> None:
    """Make the tables."""
    _create_access()
    _create_credentials()
    _extend_tokens()
    _create_ssh()
    _create_vault()
    if op.get_bind().dialect.name == "sqlite":
        _create_sqlite_triggers()
    else:
        _create_postgresql_triggers()


def _text(name: str, length: int | None = None, *, nullable: bool = False) -> sa.Column[str]:
    return sa.Column(name, sa.Text() if length is None else sa.String(length), nullable=nullable)


def _number(name: str, *, nullable: bool = False) -> sa.Column[int]:
    return sa.Column(name, sa.Integer(), nullable=nullable)


def _long(name: str, *, nullable: bool = False) -> sa.Column[int]:
    return sa.Column(name, sa.BigInteger(), nullable=nullable)


def _key(table: str, *columns: str) -> sa.PrimaryKeyConstraint:
    return sa.PrimaryKeyConstraint(*columns, name=f"pk_{table}")


def _create_access() -> None:
    op.create_table("epochs", _text("name", 32), _long("value"), _key("epochs", "name"))
    op.create_table(
        "mounts",
        _text("id", 32),
        _text("namespace_id", 32),
        _text("path", 255),
        _text("kind", 16),
        _text("type", 32),
        _text("description"),
        _text("options"),
        _text("tuning"),
        _number("version"),
        _long("created_at"),
        _key("mounts", "id"),
        sa.UniqueConstraint("namespace_id", "path", name="uq_mounts_namespace_id_path"),
    )
    op.create_table(
        "policies",
        _text("namespace_id", 32),
        _text("name", 128),
        _number("version"),
        _text("document"),
        _long("created_at"),
        _key("policies", "namespace_id", "name"),
    )


def _create_credentials() -> None:
    op.create_table(
        "approle_roles",
        _text("mount_id", 32),
        _text("name", 128),
        _text("namespace_id", 32),
        _text("role_id", 128),
        _number("version"),
        _text("document"),
        _long("created_at"),
        _key("approle_roles", "mount_id", "name"),
        sa.UniqueConstraint("mount_id", "role_id", name="uq_approle_roles_mount_id_role_id"),
    )
    op.create_table(
        "approle_secret_ids",
        _text("id", 32),
        _text("namespace_id", 32),
        _text("mount_id", 32),
        _text("role", 128),
        _text("digest", 64),
        _text("metadata"),
        _text("networks"),
        _number("uses_left", nullable=True),
        _long("created_at"),
        _long("expires_at", nullable=True),
        _key("approle_secret_ids", "id"),
        sa.UniqueConstraint("digest", name="uq_approle_secret_ids_digest"),
    )
    op.create_index("ix_approle_secret_ids_mount_id_role", "approle_secret_ids", ["mount_id", "role"])
    op.create_table(
        "userpass_users",
        _text("mount_id", 32),
        _text("name", 128),
        _text("namespace_id", 32),
        _text("verifier"),
        _number("version"),
        _text("document"),
        _number("failures"),
        _long("failed_at", nullable=True),
        _long("created_at"),
        _key("userpass_users", "mount_id", "name"),
    )


_DEFAULTS = {"display_name": "token", "path": "auth/token/create", "metadata": "{}", "lifetime": "0"}
"""For the tokens that are there already; the columns keep no default."""


def _with_default(column: sa.Column[Any]) -> sa.Column[Any]:
    default = sa.false() if column.name == "renewable" else _DEFAULTS[column.name]
    column.server_default = sa.DefaultClause(default)
    return column


def _extend_tokens() -> None:
    filled: list[sa.Column[Any]] = [
        _text("display_name", 255),
        _text("path", 255),
        _text("metadata"),
        _long("lifetime"),
        sa.Column("renewable", sa.Boolean(), nullable=False),
    ]
    empty: list[sa.Column[Any]] = [
        _text("parent_id", 32, nullable=True),
        _number("uses_left", nullable=True),
        _long("max_expires_at", nullable=True),
    ]
    with op.batch_alter_table("tokens") as table:
        for column in [*map(_with_default, filled), *empty]:
            table.add_column(column)
    with op.batch_alter_table("tokens") as table:
        for column in filled:
            table.alter_column(column.name, server_default=None)
    op.create_index("ix_tokens_parent_id", "tokens", ["parent_id"])
    op.create_index("ix_tokens_expires_at", "tokens", ["expires_at"])


def _create_ssh() -> None:
    op.create_table(
        "ssh_issuers",
        _text("id", 32),
        _text("namespace_id", 32),
        _text("mount_id", 32),
        _text("kind", 16),
        _text("key_id_hex", 64),
        _text("key_algorithm", 32),
        _text("public_key"),
        _text("state", 16),
        _long("created_at"),
        _key("ssh_issuers", "id"),
    )
    op.create_index("ix_ssh_issuers_mount_id_kind", "ssh_issuers", ["mount_id", "kind"])
    op.create_table(
        "ssh_roles",
        _text("mount_id", 32),
        _text("name", 128),
        _text("namespace_id", 32),
        _number("version"),
        _text("document"),
        _long("created_at"),
        _key("ssh_roles", "mount_id", "name"),
    )
    op.create_table(
        "ssh_certificates",
        _text("id", 32),
        _text("namespace_id", 32),
        _text("mount_id", 32),
        _text("issuer_id", 32),
        _long("serial"),
        _text("state", 16),
        _text("kind", 16),
        _text("role", 128),
        _text("requester", 255),
        _text("key_id"),
        _text("valid_principals"),
        _text("public_key_sha256", 64),
        sa.Column("tbs", sa.LargeBinary(), nullable=False),
        _text("tbs_sha256", 64),
        sa.Column("certificate", sa.LargeBinary(), nullable=True),
        _long("not_before"),
        _long("not_after"),
        _text("worker", 255),
        _long("deadline_at"),
        _long("reserved_at"),
        _long("issued_at", nullable=True),
        _long("revoked_at", nullable=True),
        _key("ssh_certificates", "id"),
        sa.UniqueConstraint("issuer_id", "serial", name="uq_ssh_certificates_issuer_id_serial"),
    )
    op.create_index("ix_ssh_certificates_state_deadline_at", "ssh_certificates", ["state", "deadline_at"])
    op.create_index(
        "ix_ssh_certificates_mount_id_state_not_after", "ssh_certificates", ["mount_id", "state", "not_after"]
    )


def _create_vault() -> None:
    op.create_table(
        "kv_secrets",
        _text("id", 32),
        _text("namespace_id", 32),
        _text("mount_id", 32),
        _text("path", 1024),
        _text("mac", 64),
        _number("current_version"),
        _number("oldest_version"),
        _number("max_versions"),
        sa.Column("cas_required", sa.Boolean(), nullable=False),
        _long("delete_after"),
        _text("custom_metadata"),
        _long("created_at"),
        _long("updated_at"),
        _key("kv_secrets", "id"),
        sa.UniqueConstraint("mount_id", "path", name="uq_kv_secrets_mount_id_path"),
    )
    op.create_table(
        "kv_versions",
        _text("secret_id", 32),
        _number("version"),
        _text("namespace_id", 32),
        sa.Column("value", sa.LargeBinary(), nullable=True),
        _long("created_at"),
        _long("deleted_at", nullable=True),
        _long("destroyed_at", nullable=True),
        _key("kv_versions", "secret_id", "version"),
    )


_SIGNED = (
    "id",
    "namespace_id",
    "mount_id",
    "issuer_id",
    "serial",
    "kind",
    "role",
    "requester",
    "key_id",
    "valid_principals",
    "tbs",
    "tbs_sha256",
)


def _rewritten(differs: str) -> str:
    signed = [f"NEW.{column} {differs} OLD.{column}" for column in _SIGNED]
    return " OR ".join([*signed, f"(OLD.certificate IS NOT NULL AND NEW.certificate {differs} OLD.certificate)"])


def _create_sqlite_triggers() -> None:
    op.execute(
        "CREATE TRIGGER ssh_certificates_keep BEFORE DELETE ON ssh_certificates "
        "BEGIN SELECT RAISE(ABORT, 'ssh_certificates rows are never deleted'); END"
    )
    op.execute(
        f"CREATE TRIGGER ssh_certificates_freeze BEFORE UPDATE ON ssh_certificates WHEN {_rewritten('IS NOT')} "
        "BEGIN SELECT RAISE(ABORT, 'ssh_certificates rows are never rewritten'); END"
    )


def _create_postgresql_triggers() -> None:
    for name, moment, scope in (
        ("keep", "BEFORE DELETE", "FOR EACH ROW"),
        ("keep_all", "BEFORE TRUNCATE", "FOR EACH STATEMENT"),
        ("freeze", "BEFORE UPDATE", f"FOR EACH ROW WHEN ({_rewritten('IS DISTINCT FROM')})"),
    ):
        op.execute(
            f"CREATE TRIGGER ssh_certificates_{name} {moment} ON ssh_certificates {scope} "
            "EXECUTE FUNCTION refuse_rewrite()"
        )
