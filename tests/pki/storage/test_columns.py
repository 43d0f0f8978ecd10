"""Every column is either for secrets and takes an envelope only, or stands on this reviewed list as plain."""

from sqlalchemy import BigInteger

from pki.storage.sealed import SealedColumn
from pki.storage.tables import metadata

PLAIN = {
    "acme_accounts": "id namespace_id profile thumbprint jwk contact status terms_agreed created_at",
    "acme_authorizations": "id namespace_id profile account_id order_id identifier_type identifier_value wildcard "
    "status token challenges expires_at created_at version",  # the token is public: it is served over plain HTTP
    "acme_orders": "id namespace_id profile account_id identifiers authorizations status error certificate_id "
    "not_before not_after expires_at created_at version",
    "acme_spent_nonces": "nonce expires_at",
    "audit_events": "id namespace_id at actor action object outcome request_id detail leaf_index",
    "blocked_keys": "spki_sha256 reason at",
    "certificates": "id namespace_id issuer_id serial state kind profile requester tbs tbs_sha256 signature_algorithm "
    "certificate fingerprint spki_sha256 subject names not_before not_after worker deadline_at reserved_at issued_at "
    "revoked_at revocation_reason",
    "crls": "issuer_id number namespace_id state tbs der this_update next_update entries reserved_at",
    "deks": "id namespace_id mount kek_id wrapped state created_at",  # wrapped: only the HSM can unwrap it
    "issuers": "id namespace_id name kind parent_id key_id_hex key_algorithm certificate subject subject_key_id "
    "spki_sha256 not_before not_after state created_at",
    "job_locks": "name holder until_at",
    "keks": "id key_id_hex label state created_at",
    "namespaces": "id name created_at",
    "profiles": "namespace_id name version document created_at",
    "sealed_values": "name namespace_id",
    "settings": "name value",
    "approle_roles": "mount_id name namespace_id role_id version document created_at",
    "approle_secret_ids": "id namespace_id mount_id role digest metadata networks uses_left created_at expires_at",
    "epochs": "name value",
    "kv_secrets": "id namespace_id mount_id path mac current_version oldest_version max_versions cas_required "
    "delete_after custom_metadata created_at updated_at",  # paths and metadata are in clear, as the docs say
    "kv_versions": "secret_id version namespace_id created_at deleted_at destroyed_at",
    "mounts": "id namespace_id path kind type description options tuning version created_at",
    "policies": "namespace_id name version document created_at",
    "ssh_certificates": "id namespace_id mount_id issuer_id serial state kind role requester key_id valid_principals "
    "public_key_sha256 tbs tbs_sha256 certificate not_before not_after worker deadline_at reserved_at issued_at "
    "revoked_at",
    "ssh_issuers": "id namespace_id mount_id kind key_id_hex key_algorithm public_key state created_at",
    "ssh_roles": "mount_id name namespace_id version document created_at",
    "tokens": "id namespace_id digest kind display_name path policies metadata parent_id lifetime renewable uses_left "
    "created_at expires_at max_expires_at used_at revoked_at",  # a digest, no token
    "userpass_users": "mount_id name namespace_id verifier version document failures failed_at created_at",  # argon2id
}
GLOBAL = {"acme_spent_nonces", "blocked_keys", "epochs", "job_locks", "keks", "namespaces", "settings"}


def test_every_column_is_sealed_or_reviewed() -> None:
    """A01: a new column that is neither a SealedColumn nor on the list fails here until somebody has thought of it."""
    plain = {
        table.name: {column.name for column in table.columns if not isinstance(column.type, SealedColumn)}
        for table in metadata.sorted_tables
    }
    assert plain == {name: set(columns.split()) for name, columns in PLAIN.items()}


def test_every_tenant_row_carries_its_namespace() -> None:
    """A09: a table is either the installation's own, and on the list, or has a namespace_id."""
    assert {table.name for table in metadata.sorted_tables if "namespace_id" not in table.columns} == GLOBAL


def test_every_time_is_64_bit() -> None:
    """Times are milliseconds, which 32 bits do not hold."""
    for table in metadata.sorted_tables:
        for column in table.columns:
            if column.name.endswith("_at") or column.name in {"at", "not_before", "not_after"}:
                assert isinstance(column.type, BigInteger), f"{table.name}.{column.name}"
