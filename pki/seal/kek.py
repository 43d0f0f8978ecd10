"""Key-encryption keys in the HSM: AES-256 keys that wrap data keys and never leave it."""

from collections.abc import Callable

from hsm.device import Hsm
from hsm.wrapping import unwrap_key, wrap_key


class HsmKek:
    """The KEK that the HSM holds under `key_id` (CKA_ID).

    `before` is called with the operation's name ahead of each call to the HSM; the composition root hands in the
    guard that refuses such calls inside a database write.
    """

    def __init__(self, hsm: Hsm, kek_id: str, key_id: bytes, before: Callable[[str], None]) -> None:
        self.id = kek_id
        self._hsm = hsm
        self._key_id = key_id
        self._before = before

    def wrap(self, dek: bytes, aad: bytes) -> bytes:
        """Return `dek` wrapped by the HSM, bound to `aad`; HsmError where it cannot."""
        self._before("wrap_key")
        return wrap_key(self._hsm, self._key_id, dek, aad)

    def unwrap(self, wrapped: bytes, aad: bytes) -> bytes:
        """Return the data key, unwrapped by the HSM; HsmError where it cannot, or must not."""
        self._before("unwrap_key")
        return unwrap_key(self._hsm, self._key_id, wrapped, aad)
