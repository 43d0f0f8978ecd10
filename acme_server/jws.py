"""Signed requests: the flattened JWS of RFC 8555 6.2, read strictly (X14).

A request is parsed, and everything about its form refused, before any key is looked at. What josepy lets pass
(unprotected headers, several signatures, stray characters, jwk beside kid, duplicate members) is refused here.
"""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from cryptography.exceptions import InvalidSignature, UnsupportedAlgorithm
from cryptography.hazmat.primitives import hashes
from cryptography.hazmat.primitives.asymmetric import ec, ed25519, padding, rsa
from cryptography.hazmat.primitives.asymmetric.utils import encode_dss_signature

from acme_server.account_keys import AccountKey, PublicKey, load_jwk
from acme_server.encoding import decode_base64url, parse_object, text_member
from acme_server.problems import Problem, ProblemType, malformed

SIZE_LIMIT = 1 << 17
"""Octets of one request: an order of 100 names, or a certificate to revoke, takes some tens of thousands at most."""

ALGORITHMS = ("ES256", "ES384", "ES512", "RS256", "EdDSA")
"""RFC 7518 3.1 and RFC 8037 3.1 (with Ed25519). No MAC and no "none" (RFC 8555 6.2)."""

_URL_LIMIT = 2048
_MEMBERS = frozenset({"protected", "payload", "signature"})
_FORBIDDEN_PARAMETERS = frozenset({"crit", "b64"})
_ECDSA: Mapping[str, tuple[str, hashes.HashAlgorithm]] = {
    "ES256": ("secp256r1", hashes.SHA256()),
    "ES384": ("secp384r1", hashes.SHA384()),
    "ES512": ("secp521r1", hashes.SHA512()),
}


@dataclass(frozen=True, slots=True)
class Message:
    """A well-formed request whose signature is not checked yet. Exactly one of `jwk` and `kid` is there.

    `nonce` is empty in the inner request of a key change, and there alone.
    """

    alg: str
    nonce: str
    url: str
    jwk: Mapping[str, Any] | None
    kid: str | None
    payload: bytes
    signing_input: bytes
    signature: bytes

    @property
    def is_post_as_get(self) -> bool:
        """Whether the payload is empty (RFC 8555 6.3), which is not the same as an empty object."""
        return not self.payload


@dataclass(frozen=True, slots=True)
class _Parts:
    """The three members of a flattened JWS (RFC 7515 7.2.2): a request's, a key change's or an account binding's."""

    header: dict[str, Any]
    payload: bytes
    signing_input: bytes
    signature: bytes


def _split(members: Mapping[str, Any]) -> _Parts:
    if members.keys() != _MEMBERS:
        raise malformed("a request has exactly the members protected, payload and signature (RFC 8555 6.2)")
    texts = {name: text_member(members, name, "the request") for name in _MEMBERS}
    octets = {name: decode_base64url(text, f"the member {name}") for name, text in texts.items()}
    return _Parts(
        header=parse_object(octets["protected"], "the protected header"),
        payload=octets["payload"],
        signing_input=f"{texts['protected']}.{texts['payload']}".encode(),
        signature=octets["signature"],
    )


def _algorithm(header: Mapping[str, Any]) -> str:
    algorithm = text_member(header, "alg", "the protected header")
    if algorithm not in ALGORITHMS:
        raise _bad_algorithm("this server does not accept that signature algorithm")
    return algorithm


def _bad_algorithm(detail: str) -> Problem:
    return Problem(ProblemType.BAD_SIGNATURE_ALGORITHM, detail, algorithms=ALGORITHMS)


def _nonce(header: Mapping[str, Any]) -> str:
    if "nonce" not in header:
        raise Problem(ProblemType.BAD_NONCE, "the protected header has no nonce")
    nonce = text_member(header, "nonce", "the protected header")
    decode_base64url(nonce, "the nonce")
    return nonce


def _url(header: Mapping[str, Any]) -> str:
    url = text_member(header, "url", "the protected header")
    if not url or len(url) > _URL_LIMIT:
        raise malformed(f"the protected header's url has 1 to {_URL_LIMIT} characters")
    return url


def _signer(header: Mapping[str, Any]) -> tuple[Mapping[str, Any] | None, str | None]:
    if ("jwk" in header) == ("kid" in header):
        raise malformed("the protected header has either a jwk or a kid, and not both (RFC 8555 6.2)")
    if "kid" in header:
        kid = text_member(header, "kid", "the protected header")
        if not kid or len(kid) > _URL_LIMIT:
            raise malformed(f"the protected header's kid has 1 to {_URL_LIMIT} characters")
        return None, kid
    jwk = header["jwk"]
    if not isinstance(jwk, dict):
        raise malformed("the protected header's jwk is not an object")
    return jwk, None


def parse(body: bytes) -> Message:
    """Return the request in `body`, read whole and strictly; nothing in it is believed before `verify`.

    Raises:
        Problem: malformed; badSignatureAlgorithm, with the algorithms that are accepted; badNonce when there is none.
    """
    if len(body) > SIZE_LIMIT:
        raise Problem(ProblemType.MALFORMED, f"a request has {SIZE_LIMIT} octets at most", status=413)
    parts = _split(parse_object(body, "the request"))
    return _message(parts, inner=False)


def parse_inner(body: bytes) -> Message:
    """Return the request inside a key change: signed by the new key, which it brings, and without a nonce.

    Raises:
        Problem: as `parse`; malformed when it has a nonce, or a kid in place of the jwk (RFC 8555 7.3.5).
    """
    parts = _split(parse_object(body, "the inner request"))
    if "nonce" in parts.header:
        raise malformed("the inner request of a key change has no nonce (RFC 8555 7.3.5)")
    message = _message(parts, inner=True)
    if message.jwk is None:
        raise malformed("the inner request of a key change has a jwk, the new key (RFC 8555 7.3.5)")
    return message


def _message(parts: _Parts, *, inner: bool) -> Message:
    header = parts.header
    if not _FORBIDDEN_PARAMETERS.isdisjoint(header):
        raise malformed("the header parameters crit and b64 are not accepted")
    algorithm = _algorithm(header)
    jwk, kid = _signer(header)
    return Message(
        alg=algorithm,
        nonce="" if inner else _nonce(header),
        url=_url(header),
        jwk=jwk,
        kid=kid,
        payload=parts.payload,
        signing_input=parts.signing_input,
        signature=parts.signature,
    )


def parse_payload(message: Message) -> dict[str, Any]:
    """Return the JSON object in the payload.

    Raises:
        Problem: malformed: no object, or no payload at all (POST-as-GET) where one is expected.
    """
    if message.is_post_as_get:
        raise malformed("the payload is empty, as in POST-as-GET, but this resource expects a JSON object")
    return parse_object(message.payload, "the payload")


def _verify_ecdsa(message: Message, key: ec.EllipticCurvePublicKey) -> None:
    name, algorithm = _ECDSA[message.alg]
    if key.curve.name != name:
        raise _bad_algorithm(f"{message.alg} does not go with a key on {key.curve.name}")
    length = (key.curve.key_size + 7) // 8
    if len(message.signature) != 2 * length:
        raise InvalidSignature
    r, s = int.from_bytes(message.signature[:length]), int.from_bytes(message.signature[length:])
    key.verify(encode_dss_signature(r, s), message.signing_input, ec.ECDSA(algorithm))


def _verify(message: Message, key: PublicKey) -> None:
    if isinstance(key, ec.EllipticCurvePublicKey) and message.alg in _ECDSA:
        _verify_ecdsa(message, key)
    elif isinstance(key, rsa.RSAPublicKey) and message.alg == "RS256":
        key.verify(message.signature, message.signing_input, padding.PKCS1v15(), hashes.SHA256())
    elif isinstance(key, ed25519.Ed25519PublicKey) and message.alg == "EdDSA":
        key.verify(message.signature, message.signing_input)
    else:
        raise _bad_algorithm(f"{message.alg} does not go with a key of that kind")


def verify(message: Message, key: PublicKey) -> None:
    """Check the signature of `message` with `key`; the algorithm must be the one for the key's type and curve.

    Raises:
        Problem: badSignatureAlgorithm when they do not go together, malformed when the signature is wrong.
    """
    try:
        _verify(message, key)
    except (InvalidSignature, UnsupportedAlgorithm, ValueError):
        raise malformed("the signature does not verify with the key") from None


__all__ = [
    "ALGORITHMS",
    "SIZE_LIMIT",
    "AccountKey",
    "Message",
    "PublicKey",
    "decode_base64url",
    "load_jwk",
    "parse",
    "parse_inner",
    "parse_payload",
    "verify",
]
