"""The doctor: it finds a good token good and a bad one bad, alters nothing and leaves nothing behind."""

import ctypes

import pytest
from pkcs11.constants import Attribute, MechanismFlag
from pkcs11.mechanisms import KeyType

from hsm import Hsm, HsmUnavailable, KeyAlgorithm
from hsm.lanes import Lane
from hsm.probe import Check, Report, probe
from hsm.sessions import TokenSession
from hsm.templates import Template, key_template, public_template
from tests.hsm import interposer as ckr
from tests.hsm.interposer import Interposer, Real
from tests.hsm.test_objects import count_objects

KEPT = (KeyAlgorithm.RSA_2048, KeyAlgorithm.EC_P384, KeyAlgorithm.ED25519, KeyAlgorithm.AES_256)
CKR_OK = 0


def failed(report: Report) -> dict[str, str]:
    """Return the checks that did not go as wished, with what was seen."""
    return {check.name: check.detail for check in report.checks if not check.ok}


def found(report: Report, name: str) -> Check:
    """Return the one check of that name."""
    (check,) = (check for check in report.checks if check.name.startswith(name))
    return check


def make_open_key(hsm: Hsm, flags: Template) -> bytes:
    """Make a key in the token that has attributes other than the house's."""
    key_id = bytes(15) + b"\1"

    def work(session: TokenSession) -> None:
        private = {**key_template(KeyAlgorithm.EC_P256, key_id, "open"), **flags}
        session.raw.generate_keypair(
            KeyType.EC,
            capabilities=MechanismFlag(0),
            public_template=public_template(KeyAlgorithm.EC_P256, key_id, "open"),
            private_template=private,
        )

    hsm.sessions.run(Lane.KEYGEN, work)
    return key_id


def test_a_softhsm_token_is_safe_and_able(hsm: Hsm) -> None:
    """F06: every way out of the token was tried on a key of each kind and on each kept key, and none worked."""
    key_ids = [hsm.generate_key(algorithm, f"ca {algorithm}") for algorithm in KEPT]
    before = count_objects(hsm), [hsm.attributes(key_id) for key_id in key_ids]
    report = probe(hsm)
    assert report.safe
    assert failed(report) == {}
    for key_id in key_ids:
        assert found(report, f"key {hsm.attributes(key_id).label!r} {key_id.hex()}").ok
    assert (count_objects(hsm), [hsm.attributes(key_id) for key_id in key_ids]) == before


@pytest.mark.parametrize(("name", "value"), [(Attribute.EXTRACTABLE, True), (Attribute.SENSITIVE, False)])
def test_a_token_that_holds_an_open_key_is_refused(hsm: Hsm, name: Attribute, value: bool) -> None:
    """F06, K1: one key that could leave the token is enough, and the report says which and how."""
    key_id = make_open_key(hsm, {name: value})
    report = probe(hsm)
    assert not report.safe
    (told,) = failed(report).items()
    assert key_id.hex() in told[0]
    assert "its attributes let it out" in told[1]
    assert ("wrapped by" in told[1]) is (name is Attribute.EXTRACTABLE)


def test_a_token_that_wraps_what_it_says_it_keeps_is_refused(hsm: Hsm, interposer: Interposer) -> None:
    """F06: NSS wraps a key of CKA_EXTRACTABLE false: the attributes are good, the deed is not."""
    hsm.generate_key(KeyAlgorithm.EC_P256, "ca")

    def between(_real: Real, *arguments: int) -> int:
        ctypes.c_ulong.from_address(arguments[5]).value = 40
        return CKR_OK

    interposer.put("C_WrapKey", between)
    report = probe(hsm)
    assert not report.safe
    assert "wrapped by AES_KEY_WRAP" in found(report, "key 'ca'").detail
    assert "wrapped by AES_KEY_WRAP" in found(report, "aes-256 stays").detail


@pytest.mark.parametrize(
    ("function", "seen"),
    [
        ("C_SetAttributeValue", "CKA_EXTRACTABLE was set True"),
        ("C_CopyObject", "copied with CKA_EXTRACTABLE True"),
    ],
)
def test_a_token_that_lets_a_key_be_weakened_is_refused(
    hsm: Hsm, interposer: Interposer, function: str, seen: str
) -> None:
    """F06, K1: a key made extractable afterwards, or copied as such, is as open as one made so."""
    weakened: list[str] = []

    def weaken(real: Real, *arguments: int) -> int:
        weakened.append(function)
        # Copy with the first attribute alone (CKA_TOKEN), since SoftHSM refuses the other.
        return real(*arguments[:3], 1, arguments[4]) if function == "C_CopyObject" else CKR_OK

    def tell(real: Real, *arguments: int) -> int:
        value = real(*arguments)
        if weakened and value == CKR_OK:
            ckr.set_flag(arguments[2], arguments[3], Attribute.EXTRACTABLE, value=True)
        return value

    interposer.put(function, weaken)
    interposer.put("C_GetAttributeValue", tell)
    report = probe(hsm)
    assert not report.safe
    assert seen in found(report, "rsa-2048 stays").detail


def test_a_token_that_makes_open_keys_is_refused(hsm: Hsm, interposer: Interposer) -> None:
    """F06, K1: the template said not extractable, the token made it extractable all the same."""

    def between(real: Real, *arguments: int) -> int:
        ckr.set_flag(arguments[4], arguments[5], Attribute.EXTRACTABLE, value=True)
        return real(*arguments)

    interposer.put("C_GenerateKeyPair", between)
    before = count_objects(hsm)
    report = probe(hsm)
    assert not report.safe
    assert "EXTRACTABLE" in found(report, "rsa-2048 stays").detail
    assert count_objects(hsm) == before


def test_a_lacking_mechanism_is_told_but_makes_no_token_unsafe(hsm: Hsm, interposer: Interposer) -> None:
    """Many tokens have no GCM: the report says so, and the token is safe."""
    interposer.fail("C_EncryptInit", ckr.MECHANISM_INVALID, times=10_000)
    report = probe(hsm)
    assert report.safe
    assert failed(report) == {"encrypt and decrypt aes-256 gcm": "the token refused: MechanismInvalid"}


def test_a_faulty_signature_is_told(hsm: Hsm, interposer: Interposer) -> None:
    """K3: the doctor verifies what it has the token sign."""
    interposer.put("C_Sign", ckr.alter_output)
    report = probe(hsm)
    assert {name for name in failed(report) if name.startswith("sign ")} == {
        "sign rsa-2048 pkcs1v15 sha256",
        "sign rsa-2048 pss sha256",
        "sign ec-p256 sha256",
        "sign ec-p384 sha256",
        "sign ed25519",
    }


@pytest.mark.parametrize("code", [ckr.DEVICE_ERROR, ckr.SESSION_HANDLE_INVALID])
def test_a_token_that_goes_away_meanwhile_is_not_called_safe(hsm: Hsm, interposer: Interposer, code: int) -> None:
    """F06: a dead token refuses everything, which must not read as keeping its keys."""
    interposer.fail("C_WrapKey", code, times=10_000)
    with pytest.raises(HsmUnavailable):
        probe(hsm)


def test_a_token_that_answers_everything_vaguely_is_not_called_safe(hsm: Hsm, interposer: Interposer) -> None:
    """F06: CKR_GENERAL_ERROR for every try may be a refusal or a dead token: the doctor asks whether it is there."""

    def gone(_real: Real, *_arguments: int) -> int:
        interposer.fail("C_GetTokenInfo", ckr.GENERAL_ERROR, times=10_000)
        return ckr.GENERAL_ERROR

    interposer.put("C_WrapKey", gone)
    with pytest.raises(HsmUnavailable):
        probe(hsm)


def test_the_report_shows_no_key_material(hsm: Hsm) -> None:
    """F06: what comes out of an open key is neither kept nor shown."""
    key_id = make_open_key(hsm, {Attribute.SENSITIVE: False, Attribute.EXTRACTABLE: True})

    def read(session: TokenSession) -> bytes:
        (key,) = session.search({Attribute.ID: key_id, Attribute.SIGN: True})
        value: bytes = key[Attribute.VALUE]
        return value

    secret = hsm.sessions.run(Lane.ISSUE, read)
    report = probe(hsm)
    assert "CKA_VALUE was read" in found(report, "key 'open'").detail
    assert len(secret) == 32
    assert secret.hex() not in repr(report)
    assert repr(secret)[2:-1] not in repr(report)
