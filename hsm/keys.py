"""Private keys that stay in the token, as real subclasses of cryptography's key classes.

cryptography's builders call only `sign` and `public_key`. Here `sign` maps each (padding, hash) to one exact PKCS#11
mechanism or refuses; it never guesses. Every signature is verified with the public key before it is released: a
faulty device, or a handle that meanwhile names another key, must not put its signature into the world.
"""

from collections.abc import Mapping
from types import MappingProxyType
from typing import Any, NoReturn, Protocol, Self

from cryptography.exceptions import InvalidSignature
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives._asymmetric import AsymmetricPadding
from cryptography.hazmat.primitives.asymmetric import ec, ed25519, padding, rsa, utils
from cryptography.utils import Buffer
from pkcs11.mechanisms import MGF, Mechanism

from hsm.errors import HsmBadSignature, HsmUnsafe, HsmUnsupported
from hsm.lanes import Lane

# DER of DigestInfo up to the digest itself (RFC 8017 section 9.2, note 1).
DIGEST_INFO: Mapping[str, bytes] = MappingProxyType(
    {
        "sha256": bytes.fromhex("3031300d060960864801650304020105000420"),
        "sha384": bytes.fromhex("3041300d060960864801650304020205000430"),
        "sha512": bytes.fromhex("3051300d060960864801650304020305000440"),
    }
)
_PSS: Mapping[str, tuple[Mechanism, MGF]] = MappingProxyType(
    {
        "sha256": (Mechanism.SHA256, MGF.SHA256),
        "sha384": (Mechanism.SHA384, MGF.SHA384),
        "sha512": (Mechanism.SHA512, MGF.SHA512),
    }
)


class Signer(Protocol):
    """The raw signature operation of a token; `Hsm` has it."""

    def sign(self, key_id: bytes, mechanism: Mechanism, data: bytes, *, parameter: Any = None, lane: Lane) -> bytes:
        """Sign `data` with the private key of that id by that very mechanism."""


class _Held:
    """What all keys in the token share."""

    def __init__(self, signer: Signer, key_id: bytes, lane: Lane) -> None:
        self._signer = signer
        self.key_id = key_id
        self.lane = lane

    def _sign_in_token(self, mechanism: Mechanism, data: bytes, parameter: Any = None) -> bytes:
        return self._signer.sign(self.key_id, mechanism, data, parameter=parameter, lane=self.lane)

    def __repr__(self) -> str:
        """Name the key by its id in the token."""
        return f"<{type(self).__name__} {self.key_id.hex()}>"

    def __copy__(self) -> Self:
        """Return the same key: this is only a reference to it."""
        return self

    def __deepcopy__(self, memo: object) -> Self:
        """Return the same key: this is only a reference to it."""
        return self

    def __reduce__(self) -> NoReturn:
        """Refuse to be pickled: the reference is good in this process only."""
        raise TypeError("a key in the token cannot be pickled")

    def private_bytes(
        self,
        encoding: serialization.Encoding,
        format: serialization.PrivateFormat,  # noqa: A002  # the signature is cryptography's
        encryption_algorithm: serialization.KeySerializationEncryption,
    ) -> NoReturn:
        """Refuse: the key does not leave the token."""
        del encoding, format, encryption_algorithm
        raise HsmUnsafe("this private key does not leave its token", advice="sign with it instead")

    def private_bytes_raw(self) -> NoReturn:
        """Refuse: the key does not leave the token."""
        raise HsmUnsafe("this private key does not leave its token", advice="sign with it instead")

    def private_numbers(self) -> NoReturn:
        """Refuse: the key does not leave the token."""
        raise HsmUnsafe("this private key does not leave its token", advice="sign with it instead")


class TokenECKey(_Held, ec.EllipticCurvePrivateKey):
    """An ECDSA key in the token (P-256, P-384)."""

    def __init__(
        self, signer: Signer, key_id: bytes, public_key: ec.EllipticCurvePublicKey, lane: Lane = Lane.ISSUE
    ) -> None:
        super().__init__(signer, key_id, lane)
        self._public_key = public_key

    def public_key(self) -> ec.EllipticCurvePublicKey:
        """Return the public half, a native key of cryptography's."""
        return self._public_key

    @property
    def curve(self) -> ec.EllipticCurve:
        """The key's curve."""
        return self._public_key.curve

    @property
    def key_size(self) -> int:
        """The curve's size in bits."""
        return self._public_key.key_size

    def exchange(self, algorithm: ec.ECDH, peer_public_key: ec.EllipticCurvePublicKey) -> NoReturn:
        """Refuse: signing keys only sign."""
        del algorithm, peer_public_key
        raise HsmUnsupported("a signing key does not agree on keys")

    def sign(self, data: Buffer, signature_algorithm: ec.EllipticCurveSignatureAlgorithm) -> bytes:
        """Sign with ECDSA over SHA-256, SHA-384 or SHA-512 and return the DER of Ecdsa-Sig-Value (RFC 3279, 2.2.3).

        Raises HsmUnsupported for any other algorithm, HsmBadSignature when the token's signature does not verify.
        """
        if not isinstance(signature_algorithm, ec.ECDSA) or signature_algorithm.deterministic_signing:
            raise HsmUnsupported("the token signs with plain ECDSA only")
        algorithm, digest = _digest(data, signature_algorithm.algorithm)
        size = (self.key_size + 7) // 8
        # CKM_ECDSA takes a digest no longer than the curve's order; FIPS 186-5, 6.4.1: its leftmost bits.
        raw = self._sign_in_token(Mechanism.ECDSA, digest[:size])
        if len(raw) != 2 * size:
            raise HsmBadSignature(f"the token returned {len(raw)} bytes as an ECDSA signature")
        signature = utils.encode_dss_signature(int.from_bytes(raw[:size]), int.from_bytes(raw[size:]))
        try:
            self._public_key.verify(signature, digest, ec.ECDSA(utils.Prehashed(algorithm)))
        except InvalidSignature:
            raise HsmBadSignature("the token returned an ECDSA signature that does not verify") from None
        return signature


class TokenRSAKey(_Held, rsa.RSAPrivateKey):
    """An RSA key in the token."""

    def __init__(self, signer: Signer, key_id: bytes, public_key: rsa.RSAPublicKey, lane: Lane = Lane.ISSUE) -> None:
        super().__init__(signer, key_id, lane)
        self._public_key = public_key

    def public_key(self) -> rsa.RSAPublicKey:
        """Return the public half, a native key of cryptography's."""
        return self._public_key

    @property
    def key_size(self) -> int:
        """The modulus's size in bits."""
        return self._public_key.key_size

    def decrypt(self, ciphertext: bytes, padding: AsymmetricPadding) -> NoReturn:
        """Refuse: signing keys only sign."""
        del ciphertext, padding
        raise HsmUnsupported("a signing key does not decrypt")

    def sign(
        self,
        data: Buffer,
        padding: AsymmetricPadding,
        algorithm: utils.Prehashed | hashes.HashAlgorithm | utils.NoDigestInfo,
    ) -> bytes:
        """Sign with RSASSA-PKCS1-v1_5 or RSASSA-PSS (RFC 8017) over SHA-256, SHA-384 or SHA-512.

        Raises HsmUnsupported for any other combination, HsmBadSignature when the token's signature does not verify.
        """
        if isinstance(algorithm, utils.NoDigestInfo):
            raise HsmUnsupported("the token does not sign without DigestInfo")
        hash_algorithm, digest = _digest(data, algorithm)
        mechanism, message, parameter = self._request(padding, hash_algorithm, digest)
        signature = self._sign_in_token(mechanism, message, parameter)
        try:
            self._public_key.verify(signature, digest, padding, utils.Prehashed(hash_algorithm))
        except InvalidSignature:
            raise HsmBadSignature("the token returned an RSA signature that does not verify") from None
        return signature

    def _request(
        self, scheme: AsymmetricPadding, algorithm: hashes.HashAlgorithm, digest: bytes
    ) -> tuple[Mechanism, bytes, Any]:
        if isinstance(scheme, padding.PKCS1v15):
            return Mechanism.RSA_PKCS, DIGEST_INFO[algorithm.name] + digest, None
        if not isinstance(scheme, padding.PSS):
            raise HsmUnsupported(f"the token does not sign with {scheme.name}")
        masking = scheme.mgf
        # The names are private to cryptography, but nothing public tells the salt's length or the mask's hash.
        mask_hash = masking._algorithm if isinstance(masking, padding.MGF1) else None  # noqa: SLF001
        if mask_hash is None or mask_hash.name not in _PSS:
            raise HsmUnsupported("the token's PSS takes MGF1 over SHA-256, SHA-384 or SHA-512")
        salt = self._salt_length(scheme, algorithm)
        return Mechanism.RSA_PKCS_PSS, digest, (_PSS[algorithm.name][0], _PSS[mask_hash.name][1], salt)

    def _salt_length(self, scheme: padding.PSS, algorithm: hashes.HashAlgorithm) -> int:
        wish = scheme._salt_length  # noqa: SLF001
        longest = padding.calculate_max_pss_salt_length(self._public_key, algorithm)
        if wish is padding.PSS.MAX_LENGTH:
            return longest
        if wish is padding.PSS.DIGEST_LENGTH:
            return algorithm.digest_size
        if isinstance(wish, int) and wish <= longest:
            return wish
        raise HsmUnsupported("no PSS signature with such a salt fits this key")


class TokenEd25519Key(_Held, ed25519.Ed25519PrivateKey):
    """An Ed25519 key in the token."""

    def __init__(
        self, signer: Signer, key_id: bytes, public_key: ed25519.Ed25519PublicKey, lane: Lane = Lane.ISSUE
    ) -> None:
        super().__init__(signer, key_id, lane)
        self._public_key = public_key

    def public_key(self) -> ed25519.Ed25519PublicKey:
        """Return the public half, a native key of cryptography's."""
        return self._public_key

    def sign(self, data: Buffer) -> bytes:
        """Sign with Ed25519 (RFC 8032). Raises HsmBadSignature when the token's signature does not verify."""
        message = bytes(data)
        signature = self._sign_in_token(Mechanism.EDDSA, message)
        try:
            self._public_key.verify(signature, message)
        except InvalidSignature:
            raise HsmBadSignature("the token returned an Ed25519 signature that does not verify") from None
        return signature


TokenKey = TokenECKey | TokenRSAKey | TokenEd25519Key


def token_key(
    signer: Signer,
    key_id: bytes,
    public_key: ec.EllipticCurvePublicKey | rsa.RSAPublicKey | ed25519.Ed25519PublicKey,
    lane: Lane,
) -> TokenKey:
    """Return the private key in the token that belongs to that public key."""
    if isinstance(public_key, rsa.RSAPublicKey):
        return TokenRSAKey(signer, key_id, public_key, lane)
    if isinstance(public_key, ed25519.Ed25519PublicKey):
        return TokenEd25519Key(signer, key_id, public_key, lane)
    return TokenECKey(signer, key_id, public_key, lane)


def _digest(
    data: Buffer, algorithm: utils.Prehashed | hashes.HashAlgorithm | object
) -> tuple[hashes.HashAlgorithm, bytes]:
    """Return the hash and the digest of `data`, which is a digest already when it says Prehashed."""
    prehashed = isinstance(algorithm, utils.Prehashed)
    # Prehashed keeps its hash private too.
    inner = algorithm._algorithm if isinstance(algorithm, utils.Prehashed) else algorithm  # noqa: SLF001
    if not isinstance(inner, hashes.HashAlgorithm) or inner.name not in DIGEST_INFO:
        raise HsmUnsupported(f"the token signs SHA-256, SHA-384 and SHA-512 digests, not {getattr(inner, 'name', '?')}")
    if not prehashed:
        context = hashes.Hash(inner)
        context.update(data)
        return inner, context.finalize()
    digest = bytes(data)
    if len(digest) != inner.digest_size:
        raise ValueError(f"a {inner.name} digest has {inner.digest_size} bytes, not {len(digest)}")
    return inner, digest
