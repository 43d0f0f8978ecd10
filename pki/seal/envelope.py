"""One sealed value: AES-256-GCM under a subkey that only this value uses.

The subkey is HKDF-SHA256 (RFC 5869) of the data key with a random 32-octet salt, so a nonce can repeat only where a
salt does too: the 2^32-message bound of SP 800-38D 8.3 for random nonces is on a subkey, which seals one message.
"""

import os
import struct
from dataclasses import dataclass

from cryptography.exceptions import InvalidTag
from cryptography.hazmat.primitives.ciphers.aead import AESGCM
from cryptography.hazmat.primitives.hashes import SHA256
from cryptography.hazmat.primitives.kdf.hkdf import HKDF

from pki.errors import Malformed

VERSION = 1
DEK_OCTETS = 32
SALT_OCTETS = 32
NONCE_OCTETS = 12
TAG_OCTETS = 16
_INFO = b"sealward envelope subkey v1"
_DEK_ID_LIMIT = 32
_MENDING = "the row was altered, or moved from elsewhere: restore it from a backup, and look for who could write it"


@dataclass(frozen=True, slots=True)
class Envelope:
    """A sealed value: the DEK's id (ASCII, 1 to 32 octets), the salt (32), the nonce (12), the ciphertext with its tag.

    As octets: version | length of the DEK id | DEK id | salt | nonce | ciphertext. Nothing in it is secret.
    """

    dek_id: str
    salt: bytes
    nonce: bytes
    ciphertext: bytes

    def to_bytes(self) -> bytes:
        """Return the octets to store."""
        identifier = self.dek_id.encode("ascii")
        return bytes((VERSION, len(identifier))) + identifier + self.salt + self.nonce + self.ciphertext

    @classmethod
    def from_bytes(cls, octets: bytes) -> "Envelope":
        """Read stored octets; Malformed for another version, a bad DEK id, or too few octets."""
        if len(octets) < 2 or octets[0] != VERSION:  # noqa: PLR2004 - version and length are an octet each
            raise Malformed("the stored octets are no envelope of a known version", advice=_MENDING)
        start = 2 + octets[1]
        identifier = octets[2:start]
        if not 1 <= octets[1] <= _DEK_ID_LIMIT or not identifier.isalnum():
            raise Malformed("the envelope names no data key", advice=_MENDING)
        if len(octets) < start + SALT_OCTETS + NONCE_OCTETS + TAG_OCTETS:
            raise Malformed("the envelope is cut short", advice=_MENDING)
        salt, rest = octets[start : start + SALT_OCTETS], octets[start + SALT_OCTETS :]
        return cls(identifier.decode("ascii"), salt, rest[:NONCE_OCTETS], rest[NONCE_OCTETS:])


def associated_data(*parts: str | bytes) -> bytes:
    """Return `parts` as one octet string, each after its length (4 octets), so that no two lists of parts are equal.

    Parts are the immutable ids that say where the value belongs: namespace, mount, secret, version, DEK.
    """
    octets = (part.encode() if isinstance(part, str) else part for part in parts)
    return b"".join(struct.pack(">I", len(part)) + part for part in octets)


def seal(dek: bytes, dek_id: str, plaintext: bytes, aad: bytes) -> Envelope:
    """Seal `plaintext` under a fresh subkey of `dek`; it opens only with the same DEK, DEK id and `aad`."""
    if not 1 <= len(dek_id) <= _DEK_ID_LIMIT or not dek_id.isascii() or not dek_id.isalnum():
        raise ValueError("a DEK id is 1 to 32 ASCII letters and digits")
    salt, nonce = os.urandom(SALT_OCTETS), os.urandom(NONCE_OCTETS)
    ciphertext = AESGCM(_subkey(dek, salt)).encrypt(nonce, plaintext, _bound(dek_id, aad))
    return Envelope(dek_id, salt, nonce, ciphertext)


def open_(dek: bytes, envelope: Envelope, aad: bytes) -> bytes:
    """Return the plaintext; Malformed if the envelope, the DEK or `aad` is not what it was sealed with."""
    try:
        cipher = AESGCM(_subkey(dek, envelope.salt))
        return cipher.decrypt(envelope.nonce, envelope.ciphertext, _bound(envelope.dek_id, aad))
    except InvalidTag:
        raise Malformed("the sealed value does not open where it is kept", advice=_MENDING) from None


def _subkey(dek: bytes, salt: bytes) -> bytes:
    if len(dek) != DEK_OCTETS:
        raise ValueError("a DEK is 32 octets")
    return HKDF(SHA256(), DEK_OCTETS, salt, _INFO).derive(dek)


def _bound(dek_id: str, aad: bytes) -> bytes:
    return associated_data(bytes((VERSION,)), dek_id, aad)
