"""Verifying a transcript: with the root's certificate alone, and every kind of tampering is named by its line."""

import base64
import hashlib
import json
import re
import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from cryptography import x509

from pki.authority import signatures
from pki.authority.tbs import assemble
from pki.ceremony.people import require_signatures
from pki.ceremony.script import read_script
from pki.ceremony.transcript import closing_message, read_fragment
from pki.ceremony.verify import verify
from pki.errors import Malformed, Misconfigured
from tests.pki.ceremony.stage import Stage
from tests.tokens import SoftToken, fresh_token

Lines = list[dict[str, Any]]
LINES = 18


@pytest.fixture(scope="module")
def held(tmp_path_factory: pytest.TempPathFactory, token_folder: Path) -> Stage:
    """Give a stage on which a ceremony was held; its files are only read."""
    assert token_folder.is_dir()
    stage = Stage(tmp_path_factory.mktemp("held"), fresh_token())
    stage.prepare()
    stage.agree()
    stage.hold()
    return stage


def _text(stage: Stage) -> list[str]:
    return (stage.out / "transcript.jsonl").read_text().splitlines(keepends=True)


def _root(lines: list[str]) -> x509.Certificate:
    found = next(facts for facts in map(json.loads, lines) if facts["act"] == "outcome")
    return x509.load_der_x509_certificate(base64.b64decode(found["der"]))


def _refused(path: Path, lines: list[str], root: x509.Certificate) -> str:
    """Return what a changed transcript is refused with."""
    path.write_text("".join(lines))
    with pytest.raises(Malformed) as refused:
        verify(path, root)
    assert refused.value.advice.startswith("do not trust this transcript")
    return refused.value.message


def test_a_whole_transcript_proves_what_was_done(held: Stage) -> None:
    """Z-B12: transcript and root are enough; script, people, software and outcomes come out of it."""
    lines = _text(held)
    assert len(lines) == LINES
    verified = verify(held.out / "transcript.jsonl", _root(lines))
    assert verified.digest == hashlib.sha256(held.script.read_bytes()).hexdigest()
    assert [item.file for item in verified.outcomes] == ["root.pem", "intermediate.pem", "root.crl"]
    assert verified.software.startswith("sealward ")


@pytest.mark.parametrize("number", range(1, LINES + 1))
def test_an_edited_line_is_named(held: Stage, tmp_path: Path, number: int) -> None:
    """Z-B12: one character of any line, wherever it is, and the transcript is refused by that line."""
    lines = _text(held)
    root, line = _root(lines), lines[number - 1]
    for match in list(re.finditer(r"[0-9A-Za-z]", line))[:: max(1, len(line) // 40)]:
        place = match.start()
        edited = line[:place] + ("x" if line[place] != "x" else "y") + line[place + 1 :]
        changed = [*lines[: number - 1], edited, *lines[number:]]
        message = _refused(tmp_path / "edited", changed, root)
        # Whoever edits the digest of the line before has made one of two lines wrong.
        assert message.startswith((f"line {number}: ", f"line {number - 1}: ")), (message, edited)


@pytest.mark.parametrize("number", range(1, LINES + 1))
def test_a_removed_line_is_named(held: Stage, tmp_path: Path, number: int) -> None:
    """Z-B12: a gap is where the next line says another number; the end is where the signed line lacks."""
    lines = _text(held)
    message = _refused(tmp_path / "removed", [*lines[: number - 1], *lines[number:]], _root(lines))
    assert message.startswith(f"line {number if number < LINES else LINES - 1}: ")


@pytest.mark.parametrize("number", range(1, LINES))
def test_swapped_lines_are_named(held: Stage, tmp_path: Path, number: int) -> None:
    """Z-B12: two neighbours in each other's place."""
    lines = _text(held)
    swapped = [*lines[: number - 1], lines[number], lines[number - 1], *lines[number + 1 :]]
    assert _refused(tmp_path / "swapped", swapped, _root(lines)).startswith(f"line {number}: ")


def test_added_and_torn_lines_are_named(held: Stage, tmp_path: Path) -> None:
    """A line twice, lines after the last one, half a line, and no line at all."""
    lines = _text(held)
    root, path = _root(lines), tmp_path / "added"
    assert _refused(path, [*lines[:5], *lines[4:]], root).startswith("line 6: ")
    assert _refused(path, [*lines, lines[-1]], root).startswith(f"line {LINES + 1}: ")
    assert _refused(path, [*lines[:-1], lines[-1][:-9]], root).startswith(f"line {LINES}: ")
    assert _refused(path, [*lines, "\n"], root).startswith(f"line {LINES + 1}: ")
    assert _refused(path, ["[" * 100_000], root).startswith("line 1: ")
    assert _refused(path, [], root).startswith("line 1: ")
    assert _refused(path, lines[:-1], root).startswith(f"line {LINES - 1}: the transcript ends here")
    with pytest.raises(Misconfigured, match="cannot read"):
        verify(tmp_path / "absent", root)


def _chained(lines: Lines) -> list[str]:
    """Return lines numbered and chained anew, as whoever forges a transcript would."""
    previous, made = "0" * 64, []
    for number, facts in enumerate(lines, 1):
        text = json.dumps({**facts, "line": number, "previous": previous}, sort_keys=True, separators=(",", ":"))
        previous = hashlib.sha256(text.encode()).hexdigest()
        made.append(text + "\n")
    return made


def test_a_transcript_chained_anew_lacks_the_root_s_signature(held: Stage, tmp_path: Path) -> None:
    """Z-B12: recomputing every digest helps nobody who does not have the root's key."""
    lines = _text(held)
    facts = [json.loads(line) for line in lines]
    facts[2]["at"] = "2026-01-01T00:00:00Z"
    message = _refused(tmp_path / "chained", _chained(facts), _root(lines))
    assert message.startswith(f"line {LINES}: its signature is not by the key of this root")


def test_another_root_is_refused(held: Stage, tmp_path: Path, soft_token: SoftToken) -> None:
    """Z-B12: root.pem must be the one that was made, whoever made the other."""
    (tmp_path / "other").mkdir()
    other = Stage(tmp_path / "other", soft_token)
    other.prepare()
    other.agree()
    root = _root(_text(other)) if other.hold() else None
    assert root is not None
    assert "is not by the key of this root" in _refused(tmp_path / "copy", _text(held), root)


def _resigned(stage: Stage, lines: Lines, path: Path) -> None:
    """Write a forged transcript and let the root's own key close it, as a dishonest program would."""
    path.write_text("".join(_chained(lines)))
    close = read_fragment(path)[-1]
    with stage.token.open() as hsm:
        key = hsm.signing_key(bytes.fromhex(lines[4]["key_id"]))
        signature = signatures.sign(key, closing_message(close))
    path.write_text("".join(_chained([*lines[:-1], {**lines[-1], "signature": base64.b64encode(signature).decode()}])))


def _replace(number: int, **facts: Any) -> Callable[[Lines], Lines]:
    def change(lines: Lines) -> Lines:
        lines[number - 1] = {**lines[number - 1], **facts}
        return lines

    return change


def _without(*numbers: int) -> Callable[[Lines], Lines]:
    return lambda lines: [facts for number, facts in enumerate(lines, 1) if number not in numbers]


def _other_signature(lines: Lines) -> Lines:
    """Put the CRL's signature under the intermediate's certificate."""
    crl = x509.load_der_x509_crl(base64.b64decode(lines[16]["der"]))
    body = base64.b64decode(lines[9]["tbs"])
    der = assemble(body, signatures.SCHEMES["ecdsa-with-SHA384"], crl.signature)
    return _replace(13, der=base64.b64encode(der).decode(), der_sha256=hashlib.sha256(der).hexdigest())(lines)


def _relabelled_script(lines: Lines) -> Lines:
    script = lines[0]["script"].replace("days: 1825", "days: 3650")
    return _replace(1, script=script, script_sha256=hashlib.sha256(script.encode()).hexdigest())(lines)


def _leaky(lines: Lines) -> Lines:
    return _replace(5, attributes={**lines[4]["attributes"], "CKA_EXTRACTABLE": True})(lines)


@pytest.mark.parametrize(
    ("forge", "message"),
    [
        (_replace(1, format=2), "line 1: it is of a format that this version does not know"),
        (_replace(1, script_sha256="0" * 64), "line 1: the script is not the one of that digest"),
        (_replace(1, signatures={}), "line 1: the signatures are not those of operator and witness"),
        (_replace(1, signatures=None), "line 1: the signatures are not those of operator and witness"),
        (_relabelled_script, "line 1: the signature of ada is not over this script"),
        (_replace(2, module="other"), "line 2: it is not the script's token"),
        (_without(4, 5), "line 4: 'draft' stands where generate or destroy must stand"),
        (_leaky, "line 5: the key was not bound to the token"),
        (_replace(5, public_key="AAAA"), "line 5: the key is not that of this root"),
        (_replace(6, tbs_sha256="0" * 64), "line 6: what was drafted is not of that digest"),
        (_replace(6, kind="crl"), "line 6: it is not the script's next act"),
        (_replace(7, mechanism="CKM_ECDSA_SHA384"), "line 7: what was given to the token is not the draft"),
        (_replace(7, key_id="00"), "line 7: it is not the root's key that signs"),
        (_replace(8, result_sha256="0" * 64), "line 9: its signature is not the one that the token returned"),
        (_replace(9, der="AAAA"), "line 9: the file, or its digest, is not that of the act"),
        (_replace(9, der="!"), "line 9: its der is not base64"),
        (_replace(9, der=None), "line 9: it lacks der"),
        (_replace(10, request="AAAA"), "line 13: it is not what the script says: the request is not the one"),
        (_other_signature, "line 13: its signature is not by the root"),
        (_without(11, 12), "line 11: 'outcome' stands where sign must stand"),
        (_without(14, 15, 16, 17), "line 14: the transcript is closed after 2 of the script's 3 acts"),
        (lambda lines: [*lines[:17], *lines[13:]], "line 18: the script has no further act"),
        (_replace(14, act="improvise"), "line 14: 'improvise' stands where draft must stand"),
    ],
)
def test_a_dishonest_program_with_the_root_s_key_is_found_out(
    held: Stage, tmp_path: Path, forge: Callable[[Lines], Lines], message: str
) -> None:
    """Z-B12: even signed by the root, the lines must fit each other, the script, and what came out."""
    lines = _text(held)
    root, path = _root(lines), tmp_path / "forged"
    _resigned(held, forge([json.loads(line) for line in lines]), path)
    with pytest.raises(Malformed) as refused:
        verify(path, root)
    assert refused.value.message.startswith(message)


@pytest.mark.parametrize(
    ("act", "changes", "message"),
    [
        (0, {"days": 7301}, "line 9: it is not what the script says: the lifetime differs"),
        (0, {"path_length": 2}, "line 9: it is not what the script says: the path length differs"),
        (0, {"permitted_dns": ["corp.example"]}, "line 9: it is not what the script says: the name constraints differ"),
        (0, {"algorithm": "ec-p256"}, "line 5: the key is of another kind than the script says"),
        (0, {"file": "other.pem"}, "line 9: the file, or its digest, is not that of the act"),
        (1, {"days": 1824}, "line 13: it is not what the script says: the lifetime differs"),
        (1, {"subject": {"common_name": "x"}}, "line 13: it is not what the script says: the subject differs"),
        (1, {"permitted_dns": []}, "line 13: it is not what the script says: the name constraints differ"),
        (1, {"request_sha256": "0" * 64}, "line 13: it is not what the script says: the request is not the one"),
        (2, {"number": 2}, "line 17: it is not what the script says: the number or the revoked certificates differ"),
        (2, {"revoked": [{"serial": "01", "date": "2026-01-01"}]}, "line 17: it is not what the script says: the nu"),
        (2, {"days": 30}, "line 17: it is not what the script says: the lifetime differs"),
    ],
)
def test_what_came_out_must_be_what_was_agreed_to(
    held: Stage, tmp_path: Path, act: int, changes: dict[str, Any], message: str
) -> None:
    """Z-B12: the people agreed to another script than the one that was performed, and the root signed all the same."""
    lines = _text(held)
    other = Stage(tmp_path, held.token, document=json.loads(json.dumps(held.document)))
    for name in ("ada", "grace"):
        shutil.copy(held.folder / f"{name}.key", tmp_path)
    other.document["acts"][act] |= changes
    other.agree()
    written = read_script(other.script)
    begin = _replace(
        1, script=written.octets.decode(), script_sha256=written.digest, signatures=require_signatures(written)
    )
    _resigned(held, begin([json.loads(line) for line in lines]), tmp_path / "forged")
    with pytest.raises(Malformed) as refused:
        verify(tmp_path / "forged", _root(lines))
    assert refused.value.message.startswith(message)


def test_a_resigned_transcript_that_was_not_changed_is_good(held: Stage, tmp_path: Path) -> None:
    """The forger's tools of these tests work: without a change, what they make is accepted."""
    lines = _text(held)
    _resigned(held, [json.loads(line) for line in lines], tmp_path / "same")
    assert verify(tmp_path / "same", _root(lines)).lines == LINES
