"""Hold a ceremony: check what was agreed to, perform it, close the transcript, and only then release what came out.

As nothing is released before the transcript is closed, a key of a ceremony that was broken off has never been used for
anything that anybody has seen. Such a key is known by its label, which the broken transcript holds and no other
ceremony has; a script that both people sign has it destroyed.
"""

import hashlib
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from datetime import timedelta
from importlib.metadata import version
from pathlib import Path

from cryptography import x509
from cryptography.hazmat.primitives import hashes

from hsm.errors import HsmError
from pki.ceremony.acts import Performer, key_in_request
from pki.ceremony.people import require_signatures
from pki.ceremony.script import KnownRoot, Script, SignIntermediate, Written, read_script
from pki.ceremony.token import RecordedToken
from pki.ceremony.transcript import BEGIN, CLOSE, FORMAT, Transcript, read_fragment
from pki.ceremony.verify import Verified, verify
from pki.clock import Clock, SystemClock
from pki.config import HsmConfig
from pki.errors import BadClock, Conflict, HsmFailure, Misconfigured, Rejected, SealwardError

TRANSCRIPT = "transcript.jsonl"
_BROKEN = "transcript.broken-{}.jsonl"


@dataclass(frozen=True, slots=True)
class Held:
    """A ceremony that is over: its verified transcript, and how many keys of broken-off runs were destroyed first."""

    transcript: Path
    verified: Verified
    removed: int = 0


def hold(path: Path, folder: Path, clock: Clock | None = None) -> Held:
    """Hold the ceremony of the script at `path`; its transcript is written into `folder`.

    What came out stands in the result: the caller writes the files. When the ceremony was held already and only
    that was left to do, the token is not touched.

    Raises:
        Denied: the script is not signed by both.
        Misconfigured, Rejected, BadClock: something is not as the script says; the token was not touched.
        HsmFailure, LintFailed: an act failed; the message says whether a key was left.
        Conflict: the folder belongs to another ceremony.
        OSError: the transcript cannot be written.
    """
    now = clock or SystemClock()
    written = read_script(path)
    signed = require_signatures(written)
    folder.mkdir(mode=0o700, parents=True, exist_ok=True)
    transcript = folder / TRANSCRIPT
    if _is_closed(transcript):
        return Held(transcript, _held_before(written, transcript))
    _require_day(written.script, now)
    requests, root = _requests(written), _known_root(written)
    broken = _set_aside(written.script, folder, transcript)
    removed = _write(written, signed, transcript, now, requests=requests, root=root, broken=broken)
    made = root or _first_certificate(transcript)
    return Held(transcript, verify(transcript, made), removed)


def _require_day(script: Script, clock: Clock) -> None:
    if abs(clock.now().date() - script.day) > timedelta(days=1):
        raise BadClock(
            f"the clock says {clock.now().date()}, but the script is for {script.day}",
            advice="set the clock: an offline machine's is often wrong, and dates in certificates stay",
        )


def _requests(written: Written) -> Mapping[str, bytes]:
    found = {}
    for act in written.script.acts:
        if isinstance(act, SignIntermediate):
            octets = _carried(written.path.parent / act.request)
            if hashlib.sha256(octets).hexdigest() != act.request_sha256:
                advice = "carry the right request here, or agree on another script"
                raise Rejected(f"{act.request} is not the request that the script means", "badCSR", advice=advice)
            key_in_request(octets)
            found[act.request] = octets
    return found


def _known_root(written: Written) -> x509.Certificate | None:
    known: KnownRoot | None = written.script.root
    if known is None:
        return None
    try:
        root = x509.load_pem_x509_certificate(_carried(written.path.parent / known.certificate))
    except ValueError:
        raise Misconfigured(f"{known.certificate} is no certificate in PEM", advice="carry the root here") from None
    if root.fingerprint(hashes.SHA256()).hex() != known.sha256:
        raise Misconfigured(f"{known.certificate} is not the root that the script means", advice="carry the right one")
    return root


def _carried(path: Path) -> bytes:
    try:
        return path.read_bytes()
    except OSError as error:
        raise Misconfigured(f"cannot read {path}: {error.strerror}", advice="carry it here") from None


def _is_closed(transcript: Path) -> bool:
    lines = read_fragment(transcript) if transcript.exists() else []
    return bool(lines) and lines[-1].act == CLOSE


def _held_before(written: Written, transcript: Path) -> Verified:
    root = _known_root(written) or _first_certificate(transcript)
    verified = verify(transcript, root)
    if verified.digest != written.digest:
        raise Conflict(f"{transcript} is that of another ceremony", advice="name another folder with --out")
    return verified


def _first_certificate(transcript: Path) -> x509.Certificate:
    for line in read_fragment(transcript):
        if line.act == "outcome":
            return x509.load_der_x509_certificate(line.decoded("der"))
    raise Conflict(f"{transcript} holds no root", advice="name another folder with --out")


def _set_aside(script: Script, folder: Path, transcript: Path) -> tuple[Path, ...]:
    """Rename a transcript that was broken off; return all there are."""
    if transcript.exists():
        there = [act.file for act in script.acts if (folder / act.file).exists()]
        if there:
            raise Conflict(
                f"{transcript} is not closed, and yet {there[0]} is there",
                advice="find out what happened; the token was not touched",
            )
        number = 1
        while (folder / _BROKEN.format(number)).exists():
            number += 1
        transcript.rename(folder / _BROKEN.format(number))
    return tuple(sorted(folder.glob(_BROKEN.format("*"))))


def _labels(broken: tuple[Path, ...]) -> Iterator[str]:
    for path in broken:
        for line in read_fragment(path):
            if line.act == "generate":
                yield line.text("label")


def _write(
    written: Written,
    signed: Mapping[str, str],
    path: Path,
    clock: Clock,
    *,
    requests: Mapping[str, bytes],
    root: x509.Certificate | None,
    broken: tuple[Path, ...],
) -> int:
    script = written.script
    transcript = Transcript.create(path, clock)
    try:
        transcript.add(
            BEGIN,
            format=FORMAT,
            software=f"sealward {version('sealward')}",
            script=written.octets.decode("utf-8", "strict"),
            script_sha256=written.digest,
            signatures=dict(signed),
            broken_off={item.name: hashlib.sha256(item.read_bytes()).hexdigest() for item in broken},
        )
        with _token(script, written.path.parent, transcript) as token:
            removed = sum(token.remove(label) for label in script.clear)
            _require_cleared(token, broken)
            performer = Performer(script, token, transcript, clock, requests)
            with _cleaning(token, transcript):
                if root is not None and script.root is not None:
                    performer.use(root, script.root.key_label)
                for step, act in enumerate(script.acts, 1):
                    performer.perform(step, act)
                performer.close()
        return removed
    finally:
        transcript.release()


def _require_cleared(token: RecordedToken, broken: tuple[Path, ...]) -> None:
    left = sorted({label for label in _labels(broken) if token.holds(label)})
    if left:
        listed = ", ".join(f"'{label}'" for label in left)
        raise Conflict(
            f"a ceremony that was broken off has left in the token the key labelled {listed}",
            advice=f"add `clear: [{listed}]` to the script, and have both people sign it again",
        )


@contextmanager
def _token(script: Script, folder: Path, transcript: Transcript) -> Iterator[RecordedToken]:
    place = HsmConfig(script.token.module, script.token.label, folder / script.token.pin_file)
    try:
        token = RecordedToken.open(place, transcript)
    except HsmError as error:
        raise HsmFailure(f"the token does not serve: {error.message}", advice=error.advice) from error
    try:
        yield token
    finally:
        token.close()


@contextmanager
def _cleaning(token: RecordedToken, transcript: Transcript) -> Iterator[None]:
    """When the block fails, destroy the key that was made in it, so that nothing is left; else say what is left."""
    try:
        yield
    except BaseException as error:
        if transcript.is_closing:
            raise  # whether its last line is on the disk, the next run finds out: until then the key must stay
        reason = error.message if isinstance(error, (SealwardError, HsmError)) else type(error).__name__
        left = token.abandon(reason)
        if left is not None:
            raise HsmFailure(
                f"the ceremony was broken off ({reason}), and the key labelled {left!r} may be in the token still",
                advice=f"add `clear: ['{left}']` to the script, have it signed again, and run it",
            ) from error
        if isinstance(error, HsmError):
            raise HsmFailure(
                f"{error.message}; the token holds no key of this ceremony", advice=error.advice
            ) from error
        raise
