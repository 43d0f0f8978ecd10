"""Verify a transcript with the root's certificate alone: nothing else is asked, and nothing in it is taken on trust."""

import hashlib
from dataclasses import dataclass
from pathlib import Path

from cryptography import x509
from cryptography.exceptions import InvalidSignature
from cryptography.hazmat.primitives import hashes

from pki.authority.drafts import spki
from pki.authority.signatures import verify_signature
from pki.ceremony.acts import Outcome, kind_of
from pki.ceremony.people import check_signatures
from pki.ceremony.promises import Found, check_promise, found_tbs
from pki.ceremony.script import Act, CreateRoot, Script, parse_script
from pki.ceremony.token import KEPT, expected_call, raw_signature
from pki.ceremony.transcript import FORMAT, Line, closing_message, read_lines
from pki.errors import Malformed, Misconfigured, SealwardError
from pki.ledger.weak_keys import PublicKey, check_key


@dataclass(frozen=True, slots=True)
class Verified:
    """What a transcript proves: the script (and its SHA-256) that both people signed, and what came out of it."""

    script: Script
    digest: str
    software: str
    lines: int
    outcomes: tuple[Outcome, ...]


def verify(path: Path, root: x509.Certificate) -> Verified:
    """Verify a transcript against the root that it claims.

    Raises:
        Malformed: the message names the line that was edited, removed, added or moved, or does not fit the others.
        Misconfigured: the file cannot be read.
    """
    key = check_key(root.public_key())
    lines = read_lines(path)
    try:
        verify_signature(key, lines[-1].decoded("signature"), closing_message(lines[-1]))
    except InvalidSignature:
        raise lines[-1].wrong(
            "its signature is not by the key of this root: the certificate is another one, or lines were written anew"
        ) from None
    script = _script(lines[0])
    walk = _Walk(script, root, key)
    for line in lines[1:-1]:
        walk.step(line)
    walk.finish(lines[-1])
    return Verified(script, lines[0].text("script_sha256"), lines[0].text("software"), len(lines), tuple(walk.outcomes))


def _script(line: Line) -> Script:
    """Return the script in the first line, which both people have signed."""
    octets, digest, signatures = line.text("script").encode(), line.text("script_sha256"), line.facts.get("signatures")
    if line.facts.get("format") != FORMAT:
        raise line.wrong("it is of a format that this version does not know")
    if hashlib.sha256(octets).hexdigest() != digest:
        raise line.wrong("the script is not the one of that digest")
    try:
        script = parse_script(octets)
        check_signatures(script, digest, signatures if isinstance(signatures, dict) else {})
    except ValueError as error:
        raise line.wrong(f"the script cannot be read: {error}") from None
    except SealwardError as error:
        raise line.wrong(error.message) from None
    return script


class _Walk:
    """Follows the lines as acts follow each other: draft, sign, signed, outcome, for each act of the script."""

    def __init__(self, script: Script, root: x509.Certificate, key: PublicKey) -> None:
        self._script = script
        self._root = root
        self._key = key
        self._expected = ["open", "opened"]
        self._draft: Line | None = None
        self._result = self._key_id = ""
        self.outcomes: list[Outcome] = []
        if script.root is not None and script.root.sha256 != root.fingerprint(hashes.SHA256()).hex():
            raise Misconfigured("the transcript is of another root", advice="name the root that its script names")

    def step(self, line: Line) -> None:
        """Take the next line."""
        allowed = [self._expected[0]] if self._expected else self._openings()
        if line.act not in allowed:
            raise line.wrong(f"{line.act!a} stands where {' or '.join(allowed)} must stand")
        if self._expected:
            self._expected.pop(0)
        takes = {
            "generate": self._take_generate,
            "open": self._take_open,
            "generated": self._take_key,
            "find": self._take_find,
            "found": self._take_key,
            "destroy": self._take_destroy,
            "draft": self._take_draft,
            "sign": self._take_sign,
            "signed": self._take_signed,
            "outcome": self._take_outcome,
        }
        if line.act in takes:
            takes[line.act](line)

    def finish(self, line: Line) -> None:
        """Check that the script was performed to its end."""
        if self._expected or len(self.outcomes) != len(self._script.acts):
            done, wanted = len(self.outcomes), len(self._script.acts)
            raise line.wrong(f"the transcript is closed after {done} of the script's {wanted} acts")

    def _act(self, line: Line) -> Act:
        if len(self.outcomes) == len(self._script.acts):
            raise line.wrong("the script has no further act")
        return self._script.acts[len(self.outcomes)]

    def _openings(self) -> list[str]:
        if self.outcomes:
            return ["draft"]
        return ["generate" if self._script.root is None else "find", "destroy"]

    def _take_open(self, line: Line) -> None:
        if line.text("token_label") != self._script.token.label or line.text("module") != self._script.token.module:
            raise line.wrong("it is not the script's token")

    def _take_destroy(self, _line: Line) -> None:
        self._expected = ["destroyed"]

    def _take_generate(self, _line: Line) -> None:
        self._expected = ["generated", "draft"]

    def _take_find(self, _line: Line) -> None:
        self._expected = ["found", "draft"]

    def _take_key(self, line: Line) -> None:
        self._key_id = line.text("key_id")
        attributes = line.facts.get("attributes")
        if not isinstance(attributes, dict) or any(attributes.get(name) is not value for name, value in KEPT.items()):
            raise line.wrong("the key was not bound to the token")
        if line.decoded("public_key") != _spki(self._root):
            raise line.wrong("the key is not that of this root")
        act = self._script.acts[0]
        if isinstance(act, CreateRoot) and attributes.get("algorithm") != act.algorithm:
            raise line.wrong("the key is of another kind than the script says")

    def _take_draft(self, line: Line) -> None:
        act = self._act(line)
        if line.facts.get("step") != len(self.outcomes) + 1 or line.facts.get("kind") != kind_of(act):
            raise line.wrong("it is not the script's next act")
        if hashlib.sha256(line.decoded("tbs")).hexdigest() != line.text("tbs_sha256"):
            raise line.wrong("what was drafted is not of that digest")
        self._draft, self._expected = line, ["sign", "signed", "outcome"]

    def _take_sign(self, line: Line) -> None:
        if line.text("key_id") != self._key_id:
            raise line.wrong("it is not the root's key that signs")
        if (line.text("mechanism"), line.text("data_sha256")) != expected_call(self._key, self._drafted(line)):
            raise line.wrong("what was given to the token is not the draft before it")

    def _take_signed(self, line: Line) -> None:
        self._result = line.text("result_sha256")

    def _take_outcome(self, line: Line) -> None:
        act, der, draft = self._act(line), line.decoded("der"), self._draft
        if hashlib.sha256(der).hexdigest() != line.text("der_sha256") or line.text("file") != act.file:
            raise line.wrong("the file, or its digest, is not that of the act")
        try:
            found = _load(kind_of(act), der)
            if found_tbs(found) != self._drafted(line):
                raise line.wrong("what came out is not what was drafted")
            verify_signature(self._key, found.signature, self._drafted(line))
            if hashlib.sha256(raw_signature(self._key, found.signature)).hexdigest() != self._result:
                raise line.wrong("its signature is not the one that the token returned")
            request = draft.decoded("request") if draft is not None and "request" in draft.facts else None
            check_promise(act, found, self._root, request)
        except InvalidSignature:
            raise line.wrong("its signature is not by the root") from None
        except Malformed:
            raise
        except (ValueError, SealwardError) as error:
            raise line.wrong(f"it is not what the script says: {error}") from None
        self.outcomes.append(Outcome(act.file, kind_of(act), der))

    def _drafted(self, line: Line) -> bytes:
        if self._draft is None:
            raise line.wrong("nothing was drafted before it")
        return self._draft.decoded("tbs")


def _spki(root: x509.Certificate) -> bytes:
    return spki(check_key(root.public_key()))


def _load(kind: str, der: bytes) -> Found:
    return x509.load_der_x509_crl(der) if kind == "crl" else x509.load_der_x509_certificate(der)
