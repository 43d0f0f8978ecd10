"""Wrap data keys under a key-encryption key that stays in the token.

A wrapped key is `suite (1 byte) | IV (12) | ciphertext and tag`. The suite says how it was wrapped, so that tokens of
other abilities can be added without guessing. PKCS#11's own C_WrapKey is avoided: its formats differ between tokens,
and it needs keys that are extractable.
"""

import enum
import hmac

from hsm.device import IV_SIZE, Hsm
from hsm.errors import HsmBadCiphertext, HsmUnsupported

LONGEST_KEY = 4096
_TAG_SIZE = 16


class Suite(enum.IntEnum):
    """How a data key is wrapped; the number is the blob's first byte and is never reused."""

    GCM = 1  # AES-256-GCM, IV from the caller; the AAD is the suite's byte followed by the caller's AAD


def wrap_key(hsm: Hsm, kek_id: bytes, dek: bytes, aad: bytes) -> bytes:
    """Wrap a data key of 1 to 4,096 bytes under the token's key `kek_id`, bound to `aad`.

    The blob is opened once before it is returned: a data key that does not come back would lose everything under it.
    Raises HsmKeyNotFound, HsmBadCiphertext (the token does not return what it was given), HsmBusy, HsmUnavailable.
    """
    if not 1 <= len(dek) <= LONGEST_KEY:
        raise ValueError(f"a data key has 1 to {LONGEST_KEY} bytes, not {len(dek)}")
    iv = hsm.random(IV_SIZE)
    suite = bytes([Suite.GCM])
    blob = suite + iv + hsm.encrypt_gcm(kek_id, iv, dek, suite + aad)
    if not hmac.compare_digest(unwrap_key(hsm, kek_id, blob, aad), dek):
        raise HsmBadCiphertext("the token wrapped another key than it was given", advice="take it out of service")
    return blob


def unwrap_key(hsm: Hsm, kek_id: bytes, blob: bytes, aad: bytes) -> bytes:
    """Open what `wrap_key` returned, given the same `aad`.

    Raises HsmBadCiphertext when blob, AAD or key are not the same, HsmUnsupported for an unknown suite,
    HsmKeyNotFound, HsmBusy, HsmUnavailable.
    """
    if not 1 <= len(blob) - 1 - IV_SIZE - _TAG_SIZE <= LONGEST_KEY:
        raise HsmBadCiphertext("the wrapped key is cut short, or longer than any")
    if blob[0] != Suite.GCM:
        raise HsmUnsupported(f"no wrap suite has the number {blob[0]}", advice="use the version that wrapped it")
    return hsm.decrypt_gcm(kek_id, blob[1 : 1 + IV_SIZE], blob[1 + IV_SIZE :], blob[:1] + aad)
