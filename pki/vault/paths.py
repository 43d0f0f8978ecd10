"""Paths of secrets: which may be, and the code that binds a path to the id of what is kept there.

Values are sealed for a secret's id, and only its row says which path leads to that id. Without the code, whoever can
write to the database could exchange two rows, and hand the values of the one to those who may read the other (K5).
"""

import hashlib
import hmac
import unicodedata

from pki.errors import Malformed, Misconfigured
from pki.mounts import Mount
from pki.seal.envelope import associated_data

PATH_LIMIT = 1024
"""Octets of UTF-8: an entry of a PostgreSQL index has room for them whatever the letters."""
_FORM = "write words with single slashes between them, as in team/database"
_MENDING = "the row was altered, or moved from elsewhere: restore it from a backup, and look for who could write it"


def check_path(path: str) -> None:
    """Refuse what is no path of a secret.

    Raises:
        Malformed: it is empty, too long, has an empty segment or one of dots, or a control character.
    """
    if not path:
        raise Malformed("the path of the secret is missing", advice=_FORM)
    try:
        length = len(path.encode())
    except UnicodeEncodeError:
        raise Malformed("the path is no Unicode text", advice="encode it as UTF-8") from None
    if length > PATH_LIMIT:
        raise Malformed(f"the path is {length} octets long, and {PATH_LIMIT} are allowed", advice="use a shorter path")
    if any(segment in {"", ".", ".."} for segment in path.split("/")):
        raise Malformed("the path has an empty segment, or one of dots", advice=_FORM)
    if any(unicodedata.category(letter) == "Cc" for letter in path):
        raise Malformed("the path has a control character", advice=_FORM)


def bind(key: bytes, mount: Mount, path: str, secret_id: str) -> str:
    """Return the code (HMAC-SHA256, hex) that binds the path in that mount to the id of its secret."""
    parts = associated_data("kv path", mount.namespace_id, mount.id, path, secret_id)
    return hmac.digest(key, parts, hashlib.sha256).hex()


def require_bound(key: bytes, mount: Mount, path: str, secret_id: str, mac: str) -> None:
    """Refuse a row that was not written for that path of that mount.

    Raises:
        Misconfigured: it was altered, or moved from elsewhere.
    """
    if not hmac.compare_digest(bind(key, mount, path, secret_id).encode(), mac.encode()):
        raise Misconfigured("the secret's row is not where it was written", advice=_MENDING)


def tampered() -> Misconfigured:
    """Return the error for a value that does not open where it is kept."""
    return Misconfigured("the sealed value does not open where it is kept", advice=_MENDING)
