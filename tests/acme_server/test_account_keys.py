"""Account keys, read strictly."""

import functools
from typing import Any

import pytest
from cryptography.hazmat.primitives.asymmetric import ec, x25519
from hypothesis import given
from hypothesis import strategies as st
from josepy.jwk import JWKEC, JWKRSA

from acme_server.account_keys import AccountKey, KnownKeys, load_jwk, thumbprint_of
from acme_server.problems import Problem, ProblemType
from tests.acme_server.keys import KINDS, key, small_rsa
from tests.acme_server.signing import b64, jwk_of

RFC_7638_N = (
    "0vx7agoebGcQSuuPiLJXZptN9nndrQmbXEps2aiAFbWhM78LhWx4cbbfAAtVT86zwu1RK7aPFFxuhDR1L6tSoc_BJECPebWKRXjBZCiFV4n3oknjhM"
    "stn64tZ_2W-5JsGY4Hc5n9yBXArwl93lqt7_RN5w6Cf0h4QyQ5v-65YGjQR0_FDW2QvzqY368QQMicAtaSqzs8KJZgnYb9c7d0zgdAZHzu6qMQvRL5h"
    "ajrn1n91CbOpbISD08qNLyrdkt-bFTWhAI4vMQFh6WeZu0fM4lFd2NcRwr3XPksINHaQ-G_xBniIqbw0Ls1jF44-csFCur-kEgU8awapJzKnqDKgw"
)
_JOSEPY = {"RSA": JWKRSA, "EC": JWKEC}
RFC_8037_X = "11qYAYKxCrfVS_7TyWQHOg7hcvPapiMlrwIaaPcHURo"


@functools.cache
def _off_curve() -> dict[str, str]:
    jwk = dict(jwk_of(key("p256")))
    point = key("p256").public_key()
    assert isinstance(point, ec.EllipticCurvePublicKey)
    return {**jwk, "y": b64((point.public_numbers().y ^ 1).to_bytes(32))}


def test_thumbprints_are_those_of_the_standards() -> None:
    """J12: RFC 7638 3.1 and RFC 8037 A.3 give the thumbprints; extra members do not count."""
    rsa = load_jwk({"kty": "RSA", "n": RFC_7638_N, "e": "AQAB", "alg": "RS256", "kid": "2011-04-29"})
    assert rsa.thumbprint == "NzbLsXh8uDCcd-6MNwXF4W_7noWXFZAfHkxZsRGC9Xs"
    assert rsa.jwk == {"kty": "RSA", "n": RFC_7638_N, "e": "AQAB"}
    okp = load_jwk({"kty": "OKP", "crv": "Ed25519", "x": RFC_8037_X})
    assert okp.thumbprint == "kPrK_qmxVWaYVA9wwBF6Iuo3vVzz7TxHCTwXBygrS4k"


@pytest.mark.parametrize("kind", KINDS)
def test_every_accepted_kind_is_read(kind: str) -> None:
    """RSA, the three EC curves and Ed25519 give the same public key; the canonical JWK reads back."""
    public_key = key(kind).public_key()
    account_key = load_jwk(jwk_of(key(kind)))
    assert account_key.public_key == public_key
    assert load_jwk(account_key.jwk) == account_key
    assert len(account_key.thumbprint) == 43


@pytest.mark.parametrize("kind", ["rsa", "p256", "p384", "p521"])
def test_thumbprints_are_josepys(kind: str) -> None:
    """J12: josepy, which clients use, computes the same thumbprint."""
    jwk = jwk_of(key(kind))
    assert load_jwk(jwk).thumbprint == b64(_JOSEPY[jwk["kty"]].from_json(jwk).thumbprint())


def _bad_keys() -> dict[str, dict[str, Any]]:
    rsa, p256, okp = jwk_of(key("rsa")), jwk_of(key("p256")), jwk_of(key("ed25519"))
    field = 2**255 - 19
    return {
        "symmetric": {"kty": "oct", "k": "AAAA"},
        "unknown type": {"kty": "AKP", "pub": "AAAA"},
        "rsa of 1024 bits": jwk_of(small_rsa(1024)),
        "rsa of 2047 bits": {**rsa, "n": b64(((1 << 2046) | 1).to_bytes(256))},
        "rsa of 8193 bits": {**rsa, "n": b64(((1 << 8192) | 1).to_bytes(1025))},
        "exponent 3": {**rsa, "e": b64(b"\x03")},
        "exponent 1": {**rsa, "e": b64(b"\x01")},
        "even exponent": {**rsa, "e": b64((65538).to_bytes(3))},
        "huge exponent": {**rsa, "e": b64(b"\x01" + bytes(8) + b"\x01")},
        "even modulus": {**rsa, "n": b64((1 << 2047).to_bytes(256))},
        "private rsa": {**rsa, "d": "AQAB"},
        "private ec": {**p256, "d": "AQAB"},
        "another curve": {**p256, "crv": "secp256k1"},
        "off the curve": _off_curve(),
        "X25519": {**okp, "crv": "X25519"},
        "Ed448": {**okp, "crv": "Ed448"},
        "identity point": {**okp, "x": b64((1).to_bytes(32, "little"))},
        "point of order 2": {**okp, "x": b64((field - 1).to_bytes(32, "little"))},
        "point of order 8": {
            **okp,
            "x": b64(bytes.fromhex("c7176a703d4dd84fba3c0b760d10670f2a2053fa2c39ccc64ec7fd7792ac03fa")),
        },
        "point not canonical": {**okp, "x": b64((field + 3).to_bytes(32, "little"))},
    }


@pytest.mark.parametrize("name", sorted(_bad_keys()))
def test_a_weak_or_foreign_key_is_a_bad_public_key(name: str) -> None:
    """X14: keys that josepy takes (symmetric, 1024 bits, private) and other weak ones are badPublicKey."""
    with pytest.raises(Problem) as caught:
        load_jwk(_bad_keys()[name])
    assert caught.value.type is ProblemType.BAD_PUBLIC_KEY
    assert caught.value.status == 400


def _unreadable_keys() -> dict[str, dict[str, Any]]:
    rsa, p256, okp = jwk_of(key("rsa")), jwk_of(key("p256")), jwk_of(key("ed25519"))
    return {
        "empty": {},
        "kty a number": {"kty": 1},
        "kty a list": {"kty": ["EC"]},
        "no n": {"kty": "RSA", "e": "AQAB"},
        "n a number": {**rsa, "n": 5},
        "n empty": {**rsa, "n": ""},
        "n padded": {**rsa, "n": rsa["n"] + "="},
        "n with a leading zero": {**rsa, "n": b64(b"\x00" + bytes(255) + b"\x01")},
        "no crv": {"kty": "EC", "x": p256["x"], "y": p256["y"]},
        "crv a list": {**p256, "crv": ["P-256"]},
        "x too short": {**p256, "x": p256["x"][:40]},
        "x of another curve": {**p256, "crv": "P-384"},
        "y missing": {"kty": "EC", "crv": "P-256", "x": p256["x"]},
        "y with line end": {**p256, "y": p256["y"] + "\n"},
        "okp x too long": {**okp, "x": b64(bytes(33))},
    }


@pytest.mark.parametrize("name", sorted(_unreadable_keys()))
def test_an_unreadable_key_is_malformed(name: str) -> None:
    """X14: a member that is missing, of another type or in another encoding is malformed, never a crash."""
    with pytest.raises(Problem) as caught:
        load_jwk(_unreadable_keys()[name])
    assert caught.value.type is ProblemType.MALFORMED


def _load(jwk: dict[str, Any]) -> AccountKey | Problem:
    try:
        return load_jwk(jwk)
    except Problem as problem:
        return problem


_VALUES = (
    st.none()
    | st.integers()
    | st.text(max_size=50)
    | st.sampled_from(["AQAB", "P-256", "Ed25519", RFC_7638_N, RFC_8037_X])
)


@given(
    st.fixed_dictionaries(
        {"kty": st.sampled_from(["RSA", "EC", "OKP", "oct"]) | _VALUES},
        optional=dict.fromkeys(["n", "e", "crv", "x", "y", "d", "alg"], _VALUES),
    )
)
def test_any_object_gives_a_key_or_a_problem(jwk: dict[str, Any]) -> None:
    """X14, D4: nothing that a client writes into a jwk gives another exception than Problem."""
    outcome = _load(jwk)
    if isinstance(outcome, Problem):
        assert outcome.type in {ProblemType.MALFORMED, ProblemType.BAD_PUBLIC_KEY}
    else:
        assert load_jwk(outcome.jwk) == outcome


@pytest.mark.parametrize("kind", KINDS)
def test_a_certificates_key_is_known_by_its_thumbprint(kind: str) -> None:
    """RFC 8555 11.1, 7.6: the key in a CSR or certificate is compared with account keys; its stored form reads back."""
    loaded = load_jwk(jwk_of(key(kind)))
    assert thumbprint_of(key(kind).public_key()) == loaded.thumbprint
    known = KnownKeys()
    assert known.get(loaded.text).thumbprint == loaded.thumbprint
    assert known.get(loaded.text) is known.get(loaded.text)


def test_a_key_of_another_kind_is_no_account_key() -> None:
    """A certificate's key that could never sign a request has no thumbprint."""
    assert thumbprint_of(ec.generate_private_key(ec.SECP256K1()).public_key()) is None
    assert thumbprint_of(x25519.X25519PrivateKey.generate().public_key()) is None
