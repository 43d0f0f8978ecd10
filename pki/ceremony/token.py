"""The offline token, whose every act is in the transcript: what is asked of it before, what it answered after."""

import hashlib
import time
from collections.abc import Mapping
from contextlib import suppress
from pathlib import Path
from types import MappingProxyType
from typing import Any

from cryptography.hazmat.primitives import hashes
from cryptography.hazmat.primitives.asymmetric import ec, rsa, utils

from hsm.algorithms import KeyAlgorithm
from hsm.device import Hsm
from hsm.errors import HsmError
from hsm.keys import DIGEST_INFO, TokenKey, token_key
from hsm.lanes import Lane
from hsm.objects import KeyAttributes
from pki.authority.drafts import spki
from pki.authority.signatures import scheme_of
from pki.ceremony.transcript import Transcript, as_text
from pki.config import Config, HsmConfig
from pki.core import open_hsm
from pki.ledger.weak_keys import PublicKey

_ATTEMPTS, _PAUSE = 8, 0.5
KEPT: Mapping[str, bool] = MappingProxyType(
    {
        "CKA_TOKEN": True,
        "CKA_PRIVATE": True,
        "CKA_SENSITIVE": True,
        "CKA_EXTRACTABLE": False,
        "CKA_ALWAYS_SENSITIVE": True,
        "CKA_NEVER_EXTRACTABLE": True,
        "CKA_LOCAL": True,
    }
)
"""What a token says of a key that was made in it and never leaves it."""


class RecordedToken:
    """One token, logged into; `close` it. Errors of the token are HsmError throughout."""

    def __init__(self, hsm: Hsm, transcript: Transcript) -> None:
        self._hsm = hsm
        self._transcript = transcript
        self._made: str | None = None

    @classmethod
    def open(cls, place: HsmConfig, transcript: Transcript) -> "RecordedToken":
        """Open the token and log in.

        Raises:
            Misconfigured: the PIN's file.
            HsmError: the token does not serve.
        """
        transcript.add(
            "open",
            calls=["C_Initialize", "C_OpenSession", "C_Login"],
            module=place.module,
            module_sha256=_digest_of(Path(place.module)),
            token_label=place.token_label,
        )
        token = cls(open_hsm(Config(hsm=place)), transcript)
        transcript.add("opened", token_serial=token._hsm.serial)
        return token

    def close(self) -> None:
        """Log out."""
        self._hsm.close()

    def holds(self, label: str) -> bool:
        """Tell whether the token holds a key of that label."""
        return bool(self._hsm.find_key_ids(label))

    def remove(self, label: str) -> int:
        """Destroy the keys of that label, which a ceremony that was broken off left; return how many there were."""
        found = self._hsm.find_key_ids(label)
        for key_id in found:
            self._transcript.add("destroy", calls=["C_DestroyObject"], label=label, key_id=key_id.hex())
            self._hsm.destroy_key(key_id)
            self._transcript.add("destroyed", key_id=key_id.hex())
        return len(found)

    def generate(self, algorithm: KeyAlgorithm, label: str) -> TokenKey:
        """Make a key that cannot leave the token, and read back what the token says of it."""
        self._transcript.add("generate", calls=["C_GenerateKeyPair"], algorithm=algorithm.value, label=label)
        self._made = label
        key_id = self._hsm.generate_key(algorithm, label)
        key = self._key(key_id)
        self._read_back("generated", key)
        return key

    def find(self, label: str, public_key: object) -> TokenKey | None:
        """Return the key of that label whose public half is `public_key`, if the token has it."""
        self._transcript.add("find", calls=["C_FindObjects"], label=label)
        keys = [self._key(key_id) for key_id in self._hsm.find_key_ids(label)]
        found = next((key for key in keys if key.public_key() == public_key), None)
        if found is not None:
            self._read_back("found", found)
        return found

    def _read_back(self, act: str, key: TokenKey) -> None:
        attributes = described(self._hsm.attributes(key.key_id))
        self._transcript.add(
            act,
            calls=["C_GetAttributeValue"],
            key_id=key.key_id.hex(),
            public_key=as_text(spki(key.public_key())),
            attributes=attributes,
        )

    def abandon(self, reason: str) -> str | None:
        """Destroy the key that this ceremony has made, if any; return its label when it may still be in the token."""
        left = None if self._made is None or self._destroy_made(self._made) else self._made
        with suppress(OSError):
            self._transcript.add("abandon", reason=reason, destroyed=self._made if left is None else None, left=left)
        return left

    def _destroy_made(self, label: str) -> bool:
        """Destroy what has that label; a token that has just failed gets some seconds to come back."""
        for _ in range(_ATTEMPTS):
            with suppress(HsmError):
                for key_id in self._hsm.find_key_ids(label):
                    self._hsm.destroy_key(key_id)
                return True
            time.sleep(_PAUSE)
        return False

    def unrecorded(self, key: TokenKey) -> TokenKey:
        """Return the key as it signs the transcript's last line, which is its own record."""
        return self._hsm.signing_key(key.key_id)

    def _key(self, key_id: bytes) -> TokenKey:
        public_key = self._hsm.signing_key(key_id).public_key()
        return token_key(_RecordedSigner(self._hsm, self._transcript), key_id, public_key, Lane.ISSUE)


class _RecordedSigner:
    """Signs as the HSM does, and has each C_Sign on the disk before it is made."""

    def __init__(self, hsm: Hsm, transcript: Transcript) -> None:
        self._hsm = hsm
        self._transcript = transcript

    def sign(self, key_id: bytes, mechanism: Any, data: bytes, *, parameter: Any = None, lane: Lane) -> bytes:
        """Sign `data` with the private key of that id by that very mechanism."""
        self._transcript.add(
            "sign",
            calls=["C_SignInit", "C_Sign"],
            mechanism=f"CKM_{mechanism.name}",
            key_id=key_id.hex(),
            data_sha256=hashlib.sha256(data).hexdigest(),
        )
        signature = self._hsm.sign(key_id, mechanism, data, parameter=parameter, lane=lane)
        self._transcript.add("signed", result_sha256=hashlib.sha256(signature).hexdigest())
        return signature


def described(attributes: KeyAttributes) -> dict[str, Any]:
    """Return what the token says of a key as a line holds it."""
    flags = ("token", "private", "sensitive", "extractable", "always_sensitive", "never_extractable", "local")
    return {
        **{f"CKA_{flag.upper()}": getattr(attributes, flag) for flag in flags},
        "CKA_LABEL": attributes.label,
        "algorithm": attributes.algorithm,
        "uses": sorted(attributes.uses),
    }


def expected_call(public_key: PublicKey, message: bytes) -> tuple[str, str]:
    """Return the mechanism, and the SHA-256 (hex) of the data, by which the key of that public half signs `message`."""
    digest = scheme_of(public_key).digest
    if digest is None:
        return "CKM_EDDSA", hashlib.sha256(message).hexdigest()
    context = hashes.Hash(digest)
    context.update(message)
    data = context.finalize()
    if isinstance(public_key, rsa.RSAPublicKey):
        return "CKM_RSA_PKCS", hashlib.sha256(DIGEST_INFO[digest.name] + data).hexdigest()
    return "CKM_ECDSA", hashlib.sha256(data).hexdigest()


def raw_signature(public_key: PublicKey, signature: bytes) -> bytes:
    """Return a certificate's signature as C_Sign returned it: ECDSA's two numbers side by side."""
    if not isinstance(public_key, ec.EllipticCurvePublicKey):
        return signature
    size = (public_key.key_size + 7) // 8
    return b"".join(number.to_bytes(size) for number in utils.decode_dss_signature(signature))


def _digest_of(path: Path) -> str:
    with suppress(OSError):
        return hashlib.sha256(path.read_bytes()).hexdigest()
    return ""
