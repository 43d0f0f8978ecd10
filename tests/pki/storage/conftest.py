"""The databases, and the token, that this room's tests run on."""

from tests.databases import database, database_url, dialect, empty_database, migrated_url
from tests.pki.seal.conftest import hsm, kek

__all__ = ["database", "database_url", "dialect", "empty_database", "hsm", "kek", "migrated_url"]
