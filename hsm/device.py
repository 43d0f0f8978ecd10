"""One PKCS#11 token: its keys, what they do, and its health."""

import contextlib
import os
import threading
from collections.abc import Iterator
from pathlib import Path
from typing import Any, Self, cast

from pkcs11.constants import Attribute, ObjectClass
from pkcs11.exceptions import (
    DataInvalid,
    EncryptedDataInvalid,
    EncryptedDataLenRange,
    FunctionFailed,
    GeneralError,
    PKCS11Error,
)
from pkcs11.mechanisms import GCMParams, Mechanism
from pkcs11.types import DecryptMixin, EncryptMixin, SignMixin

from hsm import objects
from hsm.algorithms import KeyAlgorithm
from hsm.errors import HsmBadCiphertext, HsmBusy, HsmKeyNotFound, HsmUnsupported
from hsm.keys import TokenKey, token_key
from hsm.lanes import Lane
from hsm.module import load_module
from hsm.objects import KeyAttributes, describe
from hsm.publickeys import read_public_key
from hsm.sessions import Sessions, TokenSession

KEY_ID_SIZE = 16
GENERATION_PATIENCE = 30.0
IV_SIZE = 12
# How tokens say that a GCM tag does not match: SoftHSM with the same code as for a broken device.
_NOT_OPENED = (EncryptedDataInvalid, EncryptedDataLenRange, DataInvalid, GeneralError, FunctionFailed)


class Hsm:
    """A token that was found by its label and logged into; make it with `open`, in the process that uses it.

    All methods may be called from many threads. Each raises HsmBusy when no session comes free before the deadline,
    and HsmUnavailable when the token is gone and could not be recovered; both leave nothing half done.
    """

    def __init__(self, sessions: Sessions) -> None:
        self.sessions = sessions
        self._keys: dict[tuple[bytes, Lane], TokenKey] = {}
        self._mutating = threading.Lock()
        self._leftovers: frozenset[bytes] = frozenset()

    @classmethod
    def open(
        cls,
        module: str | Path,
        token_label: str,
        pin: str,
        *,
        max_sessions: int = 8,
        checkout_timeout: float = 5.0,
    ) -> Self:
        """Load the module, find the token and log in.

        `checkout_timeout` (seconds) bounds the wait for a session. The PIN is offered once: HsmLoginFailed is final.
        Raises HsmMisconfigured when the module cannot be loaded or the label is not that of exactly one token.
        """
        loaded = load_module(module)
        try:
            loaded.acquire()
        except PKCS11Error as error:
            raise HsmUnsupported(f"{Path(module).name} cannot be initialised: {type(error).__name__}") from error
        sessions = Sessions(loaded, token_label, pin, max_sessions, checkout_timeout)
        sessions.connect()
        return cls(sessions)

    @property
    def generation(self) -> int:
        """Counts the module's initialisations: no handle outlives one."""
        return self.sessions.generation

    @property
    def serial(self) -> str:
        """The serial number of the token, as it tells it."""
        return self.sessions.serial

    def close(self) -> None:
        """Close all sessions, which logs out, and let go of the module. Closing twice is no error."""
        self.sessions.close()

    def __enter__(self) -> Self:
        """Return itself."""
        return self

    def __exit__(self, *_: object) -> None:
        """Close."""
        self.close()

    def generate_key(self, algorithm: KeyAlgorithm, label: str) -> bytes:
        """Generate a key (pair) in the token and return its CKA_ID, 16 random bytes.

        The key is bound to the token (sensitive, not extractable) and has one use: signing, or for AES encrypting
        and decrypting. Raises HsmUnsafe when the token's read-back says otherwise. After any failure nothing stays in
        the token; should the token be gone at that moment, it is swept before the next generation.
        """
        key_id = os.urandom(KEY_ID_SIZE)

        def work(session: TokenSession) -> None:
            self._sweep(session)
            objects.generate(session, algorithm, key_id, label)

        with self._mutation():
            self._leftovers |= {key_id}
            self.sessions.run(Lane.KEYGEN, work)
            self._leftovers = frozenset()
        return key_id

    def find_key_ids(self, label: str) -> list[bytes]:
        """Return the CKA_IDs of the private and secret keys under that label, in ascending order."""

        def work(session: TokenSession) -> list[bytes]:
            found = [
                item
                for kind in objects.KEY_CLASSES
                for item in session.search({Attribute.CLASS: kind, Attribute.LABEL: label})
            ]
            return sorted(item[Attribute.ID] for item in found)

        return self.sessions.run(Lane.ISSUE, work)

    def signing_key(self, key_id: bytes, lane: Lane = Lane.ISSUE) -> TokenKey:
        """Return the private key of that CKA_ID; it outlives lost sessions and restarts of the module.

        Raises HsmKeyNotFound, or HsmUnsupported for a kind of key that does not sign here.
        """
        cached = self._keys.get((key_id, lane))
        if cached is None:
            public_key = self.sessions.run(lane, lambda session: read_public_key(session, key_id))
            cached = self._keys.setdefault((key_id, lane), token_key(self, key_id, public_key, lane))
        return cached

    def destroy_key(self, key_id: bytes) -> None:
        """Destroy the key, both halves of a pair, for good. Raises HsmKeyNotFound."""

        def work(session: TokenSession) -> int:
            return objects.destroy(session, key_id)

        with self._mutation():
            try:
                if not self.sessions.run(Lane.KEYGEN, work):
                    raise HsmKeyNotFound(f"the token holds no key of id {key_id.hex()}")
            finally:
                self.sessions.forget_handles()
                for lane in Lane:
                    self._keys.pop((key_id, lane), None)

    def attributes(self, key_id: bytes) -> KeyAttributes:
        """Return what the token says of that private or secret key. Raises HsmKeyNotFound."""
        return self.sessions.run(Lane.ISSUE, lambda session: describe(objects.find_key(session, key_id)))

    def sign(
        self, key_id: bytes, mechanism: Mechanism, data: bytes, *, parameter: Any = None, lane: Lane = Lane.ISSUE
    ) -> bytes:
        """Return the raw, unverified result of C_Sign: for `hsm.keys` and `hsm.probe`, which verify it."""

        def work(session: TokenSession) -> bytes:
            key = session.get(key_id, ObjectClass.PRIVATE_KEY)
            if not isinstance(key, SignMixin):
                raise HsmUnsupported(f"key {key_id.hex()} may not sign")
            return key.sign(data, mechanism=mechanism, mechanism_param=parameter)

        return self.sessions.run(lane, work)

    def encrypt_gcm(self, key_id: bytes, iv: bytes, plaintext: bytes, aad: bytes) -> bytes:
        """Encrypt with AES-256-GCM in the token; `iv` is 12 bytes never used before with that key.

        Returns ciphertext and 16-byte tag. For `hsm.wrapping`, which chooses the IV.
        """
        return self.sessions.run(Lane.VAULT, lambda session: _gcm_encrypt(session, key_id, iv, plaintext, aad))

    def decrypt_gcm(self, key_id: bytes, iv: bytes, ciphertext: bytes, aad: bytes) -> bytes:
        """Open what `encrypt_gcm` returned. Raises HsmBadCiphertext when tag, IV, AAD or key are not the same."""
        try:
            return self._decrypt(key_id, iv, ciphertext, aad)
        except HsmBadCiphertext:
            # Some tokens give one code for a wrong tag and for a broken device: so first do what must succeed.
            self.sessions.run(Lane.VAULT, lambda session: _exercise(session, key_id))
            return self._decrypt(key_id, iv, ciphertext, aad)

    def random(self, length: int) -> bytes:
        """Return that many random bytes from the token's generator."""
        return self.sessions.run(Lane.VAULT, lambda session: session.raw.generate_random(8 * length))

    def check(self) -> None:
        """Raise HsmError unless the token is there and logged in; recovers it when it can. Cheap: signs nothing."""

        def work(session: TokenSession) -> None:
            session.require_token()
            session.require_login()

        self.sessions.run(Lane.STATUS, work)

    def _decrypt(self, key_id: bytes, iv: bytes, ciphertext: bytes, aad: bytes) -> bytes:
        def work(session: TokenSession) -> bytes:
            try:
                return _gcm_decrypt(session, key_id, iv, ciphertext, aad)
            except _NOT_OPENED as error:
                raise HsmBadCiphertext(f"what was wrapped under key {key_id.hex()} does not open") from error

        return self.sessions.run(Lane.VAULT, work)

    @contextlib.contextmanager
    def _mutation(self) -> Iterator[None]:
        """Let one thread at a time create or destroy objects."""
        if not self._mutating.acquire(timeout=GENERATION_PATIENCE):
            raise HsmBusy("another key is still being generated")
        try:
            yield
        finally:
            self._mutating.release()

    def _sweep(self, session: TokenSession) -> None:
        """Destroy what earlier, failed generations (or failed attempts of this one) may have left behind."""
        for key_id in sorted(self._leftovers):
            objects.destroy(session, key_id)


def _gcm_encrypt(session: TokenSession, key_id: bytes, iv: bytes, plaintext: bytes, aad: bytes) -> bytes:
    key = session.get(key_id, ObjectClass.SECRET_KEY)
    if not isinstance(key, EncryptMixin):
        raise HsmUnsupported(f"key {key_id.hex()} may not encrypt")
    return cast("bytes", key.encrypt(plaintext, mechanism=Mechanism.AES_GCM, mechanism_param=_gcm_params(iv, aad)))


def _gcm_decrypt(session: TokenSession, key_id: bytes, iv: bytes, ciphertext: bytes, aad: bytes) -> bytes:
    key = session.get(key_id, ObjectClass.SECRET_KEY)
    if not isinstance(key, DecryptMixin):
        raise HsmUnsupported(f"key {key_id.hex()} may not decrypt")
    return cast("bytes", key.decrypt(ciphertext, mechanism=Mechanism.AES_GCM, mechanism_param=_gcm_params(iv, aad)))


def _gcm_params(iv: bytes, aad: bytes) -> GCMParams:
    if len(iv) != IV_SIZE:
        raise ValueError(f"a GCM IV has {IV_SIZE} bytes, not {len(iv)}")
    return GCMParams(iv, aad)


def _exercise(session: TokenSession, key_id: bytes) -> None:
    """Encrypt and decrypt a block, so that a device in trouble shows itself by its own error."""
    iv = os.urandom(IV_SIZE)
    _gcm_decrypt(session, key_id, iv, _gcm_encrypt(session, key_id, iv, bytes(16), b""), b"")
