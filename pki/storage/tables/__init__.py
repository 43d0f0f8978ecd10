"""Every table of the house.

Conventions: ids are text of at most 32 characters; `*_at`, `not_before`, `not_after`, `this_update` and `next_update`
are unix milliseconds; digests, key ids and serials are lower-case hex; documents are JSON as text. A row that belongs
to a tenant carries its `namespace_id`. Nothing is nullable unless it says so. A column for a secret is a
`SealedColumn`; every other column is on the reviewed list in `tests/pki/storage/test_columns.py`.

A change here needs a revision in `migrations/versions`; a test compares the two.
"""

from pki.storage.tables.access import (
    approle_roles,
    approle_secret_ids,
    epochs,
    mounts,
    policies,
    tokens,
    userpass_users,
)
from pki.storage.tables.acme import acme_accounts, acme_authorizations, acme_orders, acme_spent_nonces
from pki.storage.tables.authority import blocked_keys, certificates, crls, issuers, profiles
from pki.storage.tables.columns import metadata
from pki.storage.tables.house import audit_events, deks, job_locks, keks, namespaces, sealed_values, settings
from pki.storage.tables.ssh import ssh_certificates, ssh_issuers, ssh_roles
from pki.storage.tables.vault import kv_secrets, kv_versions

__all__ = [
    "acme_accounts",
    "acme_authorizations",
    "acme_orders",
    "acme_spent_nonces",
    "approle_roles",
    "approle_secret_ids",
    "audit_events",
    "blocked_keys",
    "certificates",
    "crls",
    "deks",
    "epochs",
    "issuers",
    "job_locks",
    "keks",
    "kv_secrets",
    "kv_versions",
    "metadata",
    "mounts",
    "namespaces",
    "policies",
    "profiles",
    "sealed_values",
    "settings",
    "ssh_certificates",
    "ssh_issuers",
    "ssh_roles",
    "tokens",
    "userpass_users",
]
