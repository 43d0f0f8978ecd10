"""A token that fails in the middle of a ceremony, and what a witness in front of it sees of every signature."""

import hashlib
import json
import re

import pytest
from cryptography import x509

from pki.ceremony.token import raw_signature
from pki.errors import HsmFailure
from tests.faults.shim import ALTER, Shim
from tests.pki.ceremony.stage import Stage

DEVICE_ERROR = 0x30


def _agree(stage: Stage, shim: Shim, **changes: object) -> None:
    """Sign the script with the shim in front of the token."""
    stage.agree(token={**stage.document["token"], "module": str(shim.module)}, **changes)


def _lines(stage: Stage) -> list[dict[str, object]]:
    return [json.loads(line) for line in (stage.out / "transcript.jsonl").read_text().splitlines()]


def test_the_token_signed_nothing_that_the_transcript_does_not_tell(stage: Stage, faults: Shim) -> None:
    """Z-B12: a witness at the module sees as many C_Sign as there are lines, over the same data by the same key."""
    before = len(faults.signatures())
    _agree(stage, faults)
    held = stage.hold()
    seen = [(item.key_id, item.digest) for item in faults.signatures()[before:]]
    told = [(line["key_id"], line["data_sha256"]) for line in _lines(stage) if line["act"] == "sign"]
    assert seen[:-1] == told
    assert len(seen) == 4
    assert seen[-1][0] == told[0][0]
    root = x509.load_der_x509_certificate(held.verified.outcomes[0].der)
    results = [line["result_sha256"] for line in _lines(stage) if line["act"] == "signed"]
    raw = raw_signature(root.public_key(), root.signature)  # type: ignore[arg-type]
    assert results[0] == hashlib.sha256(raw).hexdigest()


@pytest.mark.parametrize(("function", "nth"), [("C_GenerateKeyPair", 1), ("C_Sign", 1), ("C_Sign", 3), ("C_Sign", 4)])
def test_a_token_that_fails_in_between_keeps_no_key(stage: Stage, faults: Shim, function: str, nth: int) -> None:
    """CA49: whatever was made is destroyed, and the one line on the terminal says so."""
    _agree(stage, faults)
    faults.fail(function, DEVICE_ERROR, nth=nth, times=20)
    with pytest.raises(HsmFailure, match="holds no key of this ceremony"):
        stage.hold()
    faults.clear()
    assert stage.keys_in_token() == 0
    assert _lines(stage)[-1]["act"] == "abandon"
    assert not list(stage.out.glob("*.pem"))
    assert len(stage.hold().verified.outcomes) == 3


def test_a_signature_that_the_token_spoilt_is_not_released(stage: Stage, faults: Shim) -> None:
    """The signature is verified before it is used; the ceremony ends, and its key with it."""
    _agree(stage, faults)
    faults.fail("C_Sign", ALTER, nth=2)
    with pytest.raises(HsmFailure, match="does not verify"):
        stage.hold()
    faults.clear()
    assert stage.keys_in_token() == 0
    assert not list(stage.out.glob("*.pem"))


def test_a_key_that_cannot_be_destroyed_is_named(stage: Stage, faults: Shim) -> None:
    """CA49: the token neither signs nor destroys: the error says what it left, and both people have it cleared."""
    _agree(stage, faults)
    faults.fail("C_Sign", DEVICE_ERROR)
    faults.fail("C_DestroyObject", DEVICE_ERROR)
    with pytest.raises(HsmFailure, match="may be in the token still") as failed:
        stage.hold()
    faults.clear()
    label = re.findall(r"root of ceremony [0-9a-f]{10}", failed.value.message)[0]
    assert f"clear: ['{label}']" in failed.value.advice
    assert _lines(stage)[-1]["left"] == label
    assert stage.keys_in_token() == 2
    _agree(stage, faults, clear=[label])
    assert stage.hold().removed == 1
    assert stage.keys_in_token() == 2
