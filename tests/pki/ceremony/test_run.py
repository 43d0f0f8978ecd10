"""Holding a ceremony: what comes out, what is on the disk before, and what is left when it breaks."""

import hashlib
import json
import os
import re
import signal
import subprocess
import sys
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest
from cryptography import x509
from cryptography.hazmat.primitives.asymmetric import ec

from hsm import KeyAlgorithm
from hsm.errors import HsmMisconfigured
from pki.ceremony.acts import root_id
from pki.ceremony.run import Held, hold
from pki.errors import BadClock, Conflict, HsmFailure, LintFailed, Malformed, Misconfigured, Rejected
from tests.clocks import FrozenClock
from tests.counts import count
from tests.pki.ceremony.stage import Stage, write_request

_FLUSHES = range(1, 21) if count(0, 1) else (1, 2, 5, 6, 7, 9, 18, 19, 20)
"""Which write to the disk a ceremony is killed at; it makes 19."""
SIGNING = [item.value for item in KeyAlgorithm if item is not KeyAlgorithm.AES_256]
_KILLED = """
import os, signal, sys
from pathlib import Path
from pki.ceremony.run import Held, hold
left, flush = int(sys.argv[3]), os.fsync
def fsync(descriptor):
    global left
    left -= 1
    if left == 0:
        os.kill(os.getpid(), signal.SIGKILL)
    flush(descriptor)
os.fsync = fsync
hold(Path(sys.argv[1]), Path(sys.argv[2]))
"""


def _acts(path: Path) -> list[str]:
    return [json.loads(line)["act"] for line in path.read_text().splitlines()]


@pytest.mark.parametrize("algorithm", SIGNING)
def test_a_root_of_every_kind_is_made_and_signs(stage: Stage, algorithm: str) -> None:
    """CA49: root, intermediate and CRL come out, each verifies under the root, and one key is in the token."""
    stage.document["acts"][0] |= {"algorithm": algorithm, "days": 365}
    stage.agree()
    held = stage.hold()
    root, intermediate = (x509.load_der_x509_certificate(item.der) for item in held.verified.outcomes[:2])
    root.verify_directly_issued_by(root)
    intermediate.verify_directly_issued_by(root)
    crl = x509.load_der_x509_crl(held.verified.outcomes[2].der)
    assert crl.is_signature_valid(root.public_key())  # type: ignore[arg-type]
    assert stage.keys_in_token() == 2
    constraints = intermediate.extensions.get_extension_for_class(x509.NameConstraints).value
    assert constraints.permitted_subtrees == [x509.DNSName("corp.example")]


def test_every_act_is_written_before_it_is_done(stage: Stage) -> None:
    """Z-B12: each signature has its draft and its C_Sign before it, and its result after it."""
    stage.agree()
    held = stage.hold()
    signing = ["draft", "sign", "signed", "outcome"]
    making = ["begin", "open", "opened", "generate", "generated"]
    assert _acts(held.transcript) == [*making, *signing, *signing, *signing, "close"]
    assert held.transcript.stat().st_mode & 0o777 == 0o600


def test_no_secret_is_in_the_transcript(stage: Stage) -> None:
    """K1: neither the PIN nor a person's private key stands in what will be shown to others."""
    stage.agree()
    text = stage.hold().transcript.read_text()
    assert stage.token.pin not in text
    for name in ("ada", "grace"):
        private = (stage.folder / f"{name}.key").read_text().splitlines()[1:-1]
        assert not any(line in text for line in private)


def test_the_certificates_point_to_where_the_service_publishes(stage: Stage) -> None:
    """The root's id is derived from its key, so both machines know the URLs; the root points nowhere."""
    stage.agree()
    root, intermediate = (x509.load_der_x509_certificate(item.der) for item in stage.hold().verified.outcomes[:2])
    points = intermediate.extensions.get_extension_for_class(x509.CRLDistributionPoints).value
    assert points[0].full_name == [x509.UniformResourceIdentifier(f"{stage.base_url}/crl/{root_id(root)}.crl")]
    assert not any(item.oid == x509.CRLDistributionPoints.oid for item in root.extensions)


def test_a_later_ceremony_signs_with_the_root_of_an_earlier_one(stage: Stage) -> None:
    """CA49: another intermediate and the next CRL, years later, by a script that names the root; no key is made."""
    stage.agree()
    root = x509.load_der_x509_certificate(stage.hold().verified.outcomes[0].der)
    known = stage.known_root(root)
    revoked = [{"serial": "0abc", "date": "2026-01-02", "reason": 5}]
    later = {"act": "crl", "number": 2, "days": 400, "revoked": revoked}
    stage.agree(root=known, acts=[{**stage.document["acts"][1], "file": "second.pem"}, later])
    held = stage.hold(stage.folder / "later")
    second = x509.load_der_x509_certificate(held.verified.outcomes[0].der)
    second.verify_directly_issued_by(root)
    crl = x509.load_der_x509_crl(held.verified.outcomes[1].der)
    entry = crl.get_revoked_certificate_by_serial_number(0xABC)
    assert entry is not None
    assert entry.extensions.get_extension_for_class(x509.CRLReason).value.reason.name == "cessation_of_operation"
    assert _acts(held.transcript)[3:5] == ["find", "found"]
    assert stage.keys_in_token() == 2
    stage.agree(root={**known, "key_label": "root of ceremony 0000000000"})
    with pytest.raises(Misconfigured, match="the token holds no key labelled"):
        stage.hold(stage.folder / "wrong-label")
    stage.agree(root={**known, "sha256": "0" * 64})
    with pytest.raises(Misconfigured, match="not the root that the script means"):
        stage.hold(stage.folder / "wrong-root")


def test_a_request_that_was_swapped_is_refused(stage: Stage) -> None:
    """The people agree to one request by its digest: another, however good, is not signed."""
    stage.agree()
    write_request(stage.folder / "intermediate.csr")
    with pytest.raises(Rejected, match="not the request that the script means"):
        stage.hold()
    assert stage.keys_in_token() == 0


def test_a_request_with_a_weak_key_is_refused(stage: Stage) -> None:
    """X4: the keys of intermediates are checked as all others are."""
    weak = ec.generate_private_key(ec.SECP256K1())
    stage.document["acts"][1]["request_sha256"] = write_request(stage.folder / "intermediate.csr", weak)
    stage.agree()
    with pytest.raises(Rejected, match="curve secp256k1"):
        stage.hold()
    (stage.folder / "intermediate.csr").write_text("no request")
    stage.document["acts"][1]["request_sha256"] = hashlib.sha256(b"no request").hexdigest()
    stage.agree()
    with pytest.raises(Rejected, match="no certificate request in PEM"):
        stage.hold()


def test_a_wrong_clock_is_noticed(stage: Stage) -> None:
    """An offline machine's clock is often wrong: the script says which day it is."""
    stage.agree()
    with pytest.raises(BadClock, match="but the script is for"):
        hold(stage.script, stage.out, FrozenClock(datetime.now(UTC) - timedelta(days=400)))
    assert stage.keys_in_token() == 0


def test_a_failing_act_leaves_no_key(stage: Stage) -> None:
    """What the lint refuses is not signed, the root's key is destroyed, and the transcript says so."""
    stage.document["acts"][1]["path_length"] = 1
    stage.agree()
    with pytest.raises(LintFailed, match="path-length"):
        stage.hold()
    assert stage.keys_in_token() == 0
    last = json.loads((stage.out / "transcript.jsonl").read_text().splitlines()[-1])
    assert (last["act"], last["left"]) == ("abandon", None)
    assert "path-length" in last["reason"]
    stage.document["acts"][1]["path_length"] = 0
    stage.agree()
    assert len(stage.hold().verified.outcomes) == 3
    assert (stage.out / "transcript.broken-1.jsonl").exists()
    assert stage.keys_in_token() == 2


def test_a_token_that_does_not_open_is_told(stage: Stage) -> None:
    """No such token, no module, no PIN: one line each, and nothing is made."""
    stage.agree(token={**stage.document["token"], "label": "absent"})
    with pytest.raises(HsmFailure, match="shows 0 tokens") as failed:
        stage.hold()
    assert isinstance(failed.value.__cause__, HsmMisconfigured)
    stage.agree(token={**stage.document["token"], "module": "/absent.so"})
    with pytest.raises(HsmFailure, match="not a PKCS#11 module"):
        stage.hold()
    stage.agree(token={**stage.document["token"], "pin_file": "absent"})
    with pytest.raises(Misconfigured, match="pin_file"):
        stage.hold()


def test_a_ceremony_is_held_once(stage: Stage) -> None:
    """Run again, it touches no token and gives the same; another script is refused its folder."""
    stage.agree()
    first = stage.hold()
    again = stage.hold()
    assert again.verified.outcomes == first.verified.outcomes
    assert stage.keys_in_token() == 2
    stage.agree(ceremony="Another")
    with pytest.raises(Conflict, match="that of another ceremony"):
        stage.hold()


def test_a_closed_transcript_that_was_edited_releases_nothing(stage: Stage) -> None:
    """The files are written from the transcript, so it is verified first."""
    stage.agree()
    path = stage.hold().transcript
    path.write_text(path.read_text().replace('"step":2', '"step":1'))
    with pytest.raises(Malformed, match="line 10"):
        stage.hold()


def test_files_without_a_closed_transcript_stop_everything(stage: Stage) -> None:
    """Someone has cut the transcript of a ceremony that was held: its root's key must not be touched."""
    stage.agree()
    path = stage.hold().transcript
    (stage.out / "root.pem").touch()
    path.write_text("".join(path.read_text().splitlines(keepends=True)[:-1]))
    with pytest.raises(Conflict, match=r"is not closed, and yet root\.pem is there"):
        stage.hold()
    assert stage.keys_in_token() == 2


def _killed_at(stage: Stage, flush: int) -> int:
    command = [sys.executable, "-c", _KILLED, str(stage.script), str(stage.out), str(flush)]
    return subprocess.run(command, capture_output=True, timeout=60, check=False, env=dict(os.environ)).returncode


def _hold_after_clearing(stage: Stage) -> Held:
    """Run again, be told what is left, agree to have it destroyed, and hold the ceremony."""
    with pytest.raises(Conflict) as told:
        stage.hold()
    label = re.findall(r"root of ceremony [0-9a-f]{10}", told.value.message)[0]
    assert f"clear: ['{label}']" in told.value.advice
    stage.agree(clear=[label])
    held = stage.hold()
    assert held.removed == 1
    return held


@pytest.mark.parametrize("flush", _FLUSHES)
def test_a_ceremony_that_is_killed_says_what_it_left(stage: Stage, flush: int) -> None:
    """Killed at every write to the disk: the next run names the key that is left, or completes what was closed.

    With the label in `clear`, agreed to by both, that key is destroyed and one root is in the token at the end.
    """
    stage.agree()
    code = _killed_at(stage, flush)
    assert code == (-signal.SIGKILL if flush <= 19 else 0)
    held = stage.hold() if flush < 6 or flush >= 19 else _hold_after_clearing(stage)
    assert len(held.verified.outcomes) == 3
    assert stage.keys_in_token() == 2
