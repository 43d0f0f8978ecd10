"""Signed requests: the hostile corpus of X14, and every algorithm that is accepted."""

import functools
import hmac
import json
from collections.abc import Callable
from typing import Any

import pytest
from cryptography.hazmat.primitives import hashes
from cryptography.hazmat.primitives.asymmetric import ec
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from acme_server.jws import ALGORITHMS, SIZE_LIMIT, load_jwk, parse, parse_payload, verify
from acme_server.problems import Problem, ProblemType
from tests.acme_server.keys import KINDS, key
from tests.acme_server.signing import NONCE, URL, Key, b64, dump, header_of, jwk_of, raw_signature, sign
from tests.counts import count

KID = "https://ca.example/acme/server/account/aaaaaaaaaaaaaaaaaaaaaaaaaa"
EC_KEY = key("p256")


def _problem(work: Callable[[], object]) -> Problem:
    with pytest.raises(Problem) as caught:
        work()
    return caught.value


@pytest.mark.parametrize("kind", KINDS)
def test_a_right_request_is_read_and_verifies(kind: str) -> None:
    """X14: the five algorithms verify with the key in the jwk; every field is what the client wrote."""
    signer = key(kind)
    message = parse(dump(sign(signer, header_of(signer), b'{"contact":[]}')))
    assert message.jwk is not None
    verify(message, load_jwk(message.jwk).public_key)
    assert (message.nonce, message.url, message.kid) == (NONCE, URL, None)
    assert parse_payload(message) == {"contact": []}
    assert not message.is_post_as_get


def test_the_algorithms_of_the_keys_are_all_that_is_accepted() -> None:
    """RFC 8555 6.2: ES256 is there, Ed25519 too, and neither a MAC nor none."""
    assert {header_of(key(kind))["alg"] for kind in KINDS} == set(ALGORITHMS)


def test_a_kid_stands_in_place_of_the_jwk() -> None:
    """X14: requests of an account carry its URL; unknown header parameters are ignored (RFC 7515 4)."""
    message = parse(dump(sign(EC_KEY, header_of(EC_KEY, jwk=None, kid=KID, typ="jose+json"))))
    assert (message.kid, message.jwk) == (KID, None)


def test_an_empty_payload_is_not_an_empty_object() -> None:
    """RFC 8555 6.3: POST-as-GET has no payload; a challenge is answered with an empty object."""
    reading = parse(dump(sign(EC_KEY, header_of(EC_KEY), b"")))
    assert reading.is_post_as_get
    assert _problem(lambda: parse_payload(reading)).type is ProblemType.MALFORMED
    answering = parse(dump(sign(EC_KEY, header_of(EC_KEY), b"{}")))
    assert not answering.is_post_as_get
    assert parse_payload(answering) == {}


@pytest.mark.parametrize("payload", [b"[]", b"null", b'""', b" ", b'{"a":1,"a":2}', b"{", b"\xff", b"[" * 1000])
def test_a_payload_that_is_no_object_is_malformed(payload: bytes) -> None:
    """X14: lists, duplicates, depth and broken JSON in a payload are malformed."""
    message = parse(dump(sign(EC_KEY, header_of(EC_KEY), payload)))
    assert _problem(lambda: parse_payload(message)).type is ProblemType.MALFORMED


def _good() -> dict[str, Any]:
    return sign(EC_KEY, header_of(EC_KEY))


def _without(name: str) -> dict[str, Any]:
    request = _good()
    del request[name]
    return request


def _header(**changes: object) -> dict[str, Any]:
    return sign(EC_KEY, header_of(EC_KEY, **changes))


def _raw_header(text: bytes) -> dict[str, Any]:
    return sign(EC_KEY, text)


MALFORMED: dict[str, Callable[[], object]] = {
    "a list": lambda: [_good()],
    "a text": lambda: "x",
    "null": lambda: None,
    "alg in an unprotected header": lambda: {**_header(alg=None), "header": {"alg": "ES256"}},
    "kid in an unprotected header too": lambda: {**_good(), "header": {"kid": KID}},
    "empty unprotected header": lambda: {**_good(), "header": {}},
    "general form": lambda: {
        "payload": _good()["payload"],
        "signatures": [{"protected": _good()["protected"], "signature": _good()["signature"]}] * 2,
    },
    "both forms": lambda: {**_good(), "signatures": []},
    "unknown member": lambda: {**_good(), "x": 1},
    "no payload": lambda: _without("payload"),
    "no protected header": lambda: _without("protected"),
    "no signature": lambda: _without("signature"),
    "payload null": lambda: {**_good(), "payload": None},
    "payload an object": lambda: {**_good(), "payload": {}},
    "payload padded": lambda: {**_good(), "payload": "e30="},
    "payload with stray characters": lambda: {**_good(), "payload": "e3!0"},
    "payload with white space": lambda: {**_good(), "payload": "e3 0"},
    "payload in the other alphabet": lambda: {**_good(), "payload": "e+/0"},
    "protected padded": lambda: {**_good(), "protected": _good()["protected"] + "="},
    "signature with line end": lambda: {**_good(), "signature": _good()["signature"] + "\n"},
    "protected empty": lambda: {**_good(), "protected": ""},
    "protected a list": lambda: _raw_header(b"[]"),
    "protected not JSON": lambda: _raw_header(b"{"),
    "protected not UTF-8": lambda: _raw_header(b'{"alg":"\xff"}'),
    "protected with two algs": lambda: _raw_header(dump(header_of(EC_KEY))[:-1] + b',"alg":"ES256"}'),
    "protected with two jwks": lambda: _raw_header(dump(header_of(EC_KEY))[:-1] + b',"jwk":{}}'),
    "protected deep": lambda: _raw_header(dump(header_of(EC_KEY))[:-1] + b',"x":' + b"[" * 5000 + b"]" * 5000 + b"}"),
    "jwk with two x": lambda: _raw_header(dump(header_of(EC_KEY)).replace(b'"kty"', b'"x":"AA","kty"')),
    "alg missing": lambda: _header(alg=None),
    "alg a number": lambda: _header(alg=256),
    "alg a list": lambda: _header(alg=["ES256"]),
    "nonce a number": lambda: _header(nonce=5),
    "nonce not base64url": lambda: _header(nonce="not!base64"),
    "nonce padded": lambda: _header(nonce="bm9uY2U="),
    "url missing": lambda: _header(url=None),
    "url a number": lambda: _header(url=1),
    "url empty": lambda: _header(url=""),
    "url endless": lambda: _header(url="https://" + "a" * 3000),
    "neither jwk nor kid": lambda: _header(jwk=None),
    "both jwk and kid": lambda: _header(kid=KID),
    "kid a number": lambda: _header(jwk=None, kid=1),
    "kid empty": lambda: _header(jwk=None, kid=""),
    "jwk a text": lambda: _header(jwk="x"),
    "jwk a list": lambda: _header(jwk=[]),
    "crit": lambda: _header(crit=["b64"]),
    "crit empty": lambda: _header(crit=[]),
    "b64 false": lambda: _header(b64=False),
    "b64 true": lambda: _header(b64=True),
}


@pytest.mark.parametrize("name", sorted(MALFORMED))
def test_a_request_of_another_form_is_malformed(name: str) -> None:
    """X14: each thing that josepy lets pass, or crashes on, is refused as malformed with status 400."""
    problem = _problem(lambda: parse(dump(MALFORMED[name]())))
    assert (problem.type, problem.status) == (ProblemType.MALFORMED, 400)


@pytest.mark.parametrize("name", ["protected", "payload", "signature"])
def test_a_member_that_stands_twice_is_malformed(name: str) -> None:
    """X14: of two members of one name no reader may pick one."""
    text = dump(_good())[:-1] + f',"{name}":"{_good()[name]}"}}'.encode()
    assert "two members" in _problem(lambda: parse(text)).detail


@pytest.mark.parametrize(
    "alg", ["none", "None", "HS256", "HS512", "PS256", "RS1", "RS512", "ES256K", "es256", "", "Ed448"]
)
def test_other_algorithms_are_refused_with_the_list(alg: str) -> None:
    """X14: RFC 8555 6.2: badSignatureAlgorithm must name the algorithms that are accepted."""
    problem = _problem(lambda: parse(dump(_header(alg=alg))))
    assert problem.type is ProblemType.BAD_SIGNATURE_ALGORITHM
    assert problem.to_document()["algorithms"] == list(ALGORITHMS)


def test_a_request_without_a_nonce_is_told_to_get_one() -> None:
    """X14: a missing nonce is badNonce, so that clients try again with the one that comes along (RFC 8555 6.5)."""
    assert _problem(lambda: parse(dump(_header(nonce=None)))).type is ProblemType.BAD_NONCE


def test_a_large_request_is_refused_unread() -> None:
    """D1: beyond the limit nothing is parsed."""
    problem = _problem(lambda: parse(b" " * (SIZE_LIMIT + 1)))
    assert (problem.type, problem.status) == (ProblemType.MALFORMED, 413)


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize("alg", ALGORITHMS)
def test_an_algorithm_goes_with_its_own_keys_only(kind: str, alg: str) -> None:
    """X14: RS256 with an EC key, ES256 with a P-384 key and so on are badSignatureAlgorithm, never a TypeError."""
    signer = key(kind)
    message = parse(dump(sign(signer, header_of(signer, alg=alg))))
    if header_of(signer)["alg"] == alg:
        verify(message, signer.public_key())
        return
    problem = _problem(lambda: verify(message, signer.public_key()))
    assert problem.type is ProblemType.BAD_SIGNATURE_ALGORITHM
    assert problem.algorithms == ALGORITHMS


def test_a_mac_keyed_with_the_public_key_is_refused() -> None:
    """X14: the old confusion of RS256 and HS256: the public key is no MAC key."""
    header = b64(dump(header_of(key("rsa"), alg="HS256")))
    mac = hmac.digest(dump(jwk_of(key("rsa"))), f"{header}.e30".encode(), "sha256")
    request = {"protected": header, "payload": "e30", "signature": b64(mac)}
    assert _problem(lambda: parse(dump(request))).type is ProblemType.BAD_SIGNATURE_ALGORITHM


def _tampered(signer: Key) -> dict[str, dict[str, Any]]:
    good = sign(signer, header_of(signer))
    signature = raw_signature(signer, f"{good['protected']}.{good['payload']}".encode())
    flipped = bytes([signature[0] ^ 1]) + signature[1:]
    return {
        "payload": {**good, "payload": b64(b'{"a":1}')},
        "header": {**good, "protected": b64(dump(header_of(signer, url=URL + "x")))},
        "signature": {**good, "signature": b64(flipped)},
        "empty": {**good, "signature": ""},
        "longer": {**good, "signature": b64(signature + b"\x00")},
        "shorter": {**good, "signature": b64(signature[:-1])},
        "zeros": {**good, "signature": b64(bytes(len(signature)))},
        "ones": {**good, "signature": b64(b"\xff" * len(signature))},
    }


@pytest.mark.parametrize("kind", KINDS)
def test_a_wrong_signature_is_malformed(kind: str) -> None:
    """X14: altered content, and signatures of any length and value, are refused with 400 and never crash."""
    for request in _tampered(key(kind)).values():
        message = parse(dump(request))
        problem = _problem(functools.partial(verify, message, key(kind).public_key()))
        assert (problem.type, problem.status) == (ProblemType.MALFORMED, 400)


def test_a_der_signature_is_not_an_ecdsa_jws() -> None:
    """RFC 7518 3.4: an ECDSA signature is r and s in fixed length, and nothing else verifies."""
    assert isinstance(EC_KEY, ec.EllipticCurvePrivateKey)
    good = _good()
    der = EC_KEY.sign(f"{good['protected']}.{good['payload']}".encode(), ec.ECDSA(hashes.SHA256()))
    message = parse(dump({**good, "signature": b64(der)}))
    assert _problem(lambda: verify(message, EC_KEY.public_key())).type is ProblemType.MALFORMED


def test_another_accounts_key_does_not_verify() -> None:
    """X14: a signature counts for the key that made it only."""
    other = ec.generate_private_key(ec.SECP256R1()).public_key()
    assert _problem(lambda: verify(parse(dump(_good())), other)).type is ProblemType.MALFORMED


@settings(max_examples=count(300, 20000))
@given(st.binary(max_size=400))
def test_any_octets_give_a_problem(body: bytes) -> None:
    """X14, D4: no octets give another exception than Problem."""
    _problem(lambda: parse(body))


def _read(body: bytes) -> Problem | None:
    """Read a request to its end; return what it was refused for, if it was."""
    try:
        message = parse(body)
        verify(message, load_jwk(message.jwk).public_key if message.jwk else EC_KEY.public_key())
        parse_payload(message)
    except Problem as problem:
        return problem
    return None


_JSON = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats(allow_nan=False, allow_infinity=False) | st.text(max_size=20),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=8), inner, max_size=3),
    max_leaves=8,
)
_PARAMETERS = ["alg", "nonce", "url", "jwk", "kid", "crit", "b64", "typ"]


@settings(max_examples=count(300, 20000), suppress_health_check=[HealthCheck.too_slow])
@given(
    st.dictionaries(st.sampled_from(_PARAMETERS), _JSON, max_size=4),
    st.dictionaries(st.sampled_from(["protected", "payload", "signature", "header"]), _JSON, max_size=2),
    st.binary(max_size=50),
)
def test_any_json_gives_a_message_or_a_problem(header: dict[str, Any], members: dict[str, Any], payload: bytes) -> None:
    """X14, D4: a right request with any parts replaced by any JSON gives a Message or a Problem, nothing else."""
    request = {**sign(EC_KEY, {**header_of(EC_KEY), **header}, payload), **members}
    problem = _read(json.dumps(request).encode())
    if problem is not None:
        assert problem.status == 400
        dump(problem.to_document())
