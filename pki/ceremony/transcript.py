"""The transcript: a JSON object a line, each with the SHA-256 of the line before, on the disk before what it tells of.

The last line is signed by the root's own key, so whoever has the root's certificate can tell whether it is whole.
"""

import base64
import binascii
import hashlib
import itertools
import json
import os
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Self

from pki.clock import Clock, rfc3339
from pki.errors import Conflict, Malformed, Misconfigured

FORMAT = 1
BEGIN, CLOSE = "begin", "close"
_BEFORE_THE_FIRST = "0" * 64
_PURPOSE = b"sealward ceremony transcript 1\n"
"""Begins what the root's key signs, which therefore can never be read as a certificate or CRL."""
_SIZE_LIMIT = 16 * 1024 * 1024
_OWN = frozenset({"line", "previous", "at", "act"})


def as_text(octets: bytes) -> str:
    """Return octets as a line holds them."""
    return base64.b64encode(octets).decode()


def _encode(facts: dict[str, Any]) -> bytes:
    return json.dumps(facts, sort_keys=True, separators=(",", ":"), ensure_ascii=True).encode()


@dataclass(frozen=True, slots=True)
class Line:
    """A line as it was read: its number from 1, its act, its facts and its octets."""

    number: int
    act: str
    facts: dict[str, Any]
    octets: bytes

    def text(self, name: str) -> str:
        """Return a fact that is text; Malformed names the line when it is absent."""
        value = self.facts.get(name)
        if not isinstance(value, str):
            raise self.wrong(f"it lacks {name}")
        return value

    def decoded(self, name: str) -> bytes:
        """Return octets that the line holds in base64; Malformed names the line when it does not."""
        try:
            return base64.b64decode(self.text(name), validate=True)
        except (binascii.Error, ValueError):
            raise self.wrong(f"its {name} is not base64") from None

    def wrong(self, why: str) -> Malformed:
        """Return the error that refuses the transcript for this line."""
        return refusal(self.number, why)


def refusal(number: int, why: str) -> Malformed:
    """Return the error that refuses a transcript for what is wrong with the line of that number."""
    return Malformed(f"line {number}: {why}", advice="do not trust this transcript, nor what came out of the ceremony")


class Transcript:
    """A transcript that is being written. `add` returns when the line is on the disk.

    `is_closing` says that the last line may be there: what the transcript tells of may then have been done.
    """

    def __init__(self, descriptor: int, clock: Clock) -> None:
        self._descriptor = descriptor
        self._clock = clock
        self._count = 0
        self.is_closing = False
        self._previous = _BEFORE_THE_FIRST

    @classmethod
    def create(cls, path: Path, clock: Clock) -> Self:
        """Begin one in a file that must not exist yet.

        Raises:
            Conflict: it does.
            OSError: it cannot be written.
        """
        try:
            descriptor = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_APPEND | os.O_CLOEXEC, 0o600)
        except FileExistsError:
            raise Conflict(f"there is a {path} already", advice="another ceremony writes there: let it end") from None
        folder = os.open(path.parent, os.O_RDONLY | os.O_CLOEXEC)
        try:
            os.fsync(folder)
        finally:
            os.close(folder)
        return cls(descriptor, clock)

    def add(self, act: str, **facts: Any) -> None:
        """Write one line. Raises OSError, after which nothing may be done that it would have told of."""
        self._write(self._next(act, facts))

    def close(self, sign: Callable[[bytes], bytes]) -> None:
        """Write the last line, signed by `sign` with the root's key. Raises what `sign` raises, and OSError."""
        facts = self._next(CLOSE, {"calls": ["C_Sign"]})
        signature = sign(_PURPOSE + _encode(facts))
        self.is_closing = True
        self._write({**facts, "signature": as_text(signature)})

    def release(self) -> None:
        """Let go of the file."""
        os.close(self._descriptor)

    def _next(self, act: str, facts: dict[str, Any]) -> dict[str, Any]:
        own = {"line": self._count + 1, "previous": self._previous, "at": rfc3339(self._clock.now()), "act": act}
        return {**facts, **own}

    def _write(self, facts: dict[str, Any]) -> None:
        octets = _encode(facts)
        remaining = memoryview(octets + b"\n")
        while remaining:
            remaining = remaining[os.write(self._descriptor, remaining) :]
        os.fsync(self._descriptor)
        self._count += 1
        self._previous = hashlib.sha256(octets).hexdigest()


def read_lines(path: Path) -> list[Line]:
    """Read a transcript, and check that no line of it was edited, removed, added or moved.

    Whether its last line is genuine, `closing_message` serves to tell.

    Raises:
        Misconfigured: it cannot be read.
        Malformed: the message names the line.
    """
    octets = _read(path)
    whole = octets.splitlines(keepends=True)
    if not whole:
        raise refusal(1, "there is none")
    lines = [_line(number, text) for number, text in enumerate(whole, 1)]
    for before, line in itertools.pairwise(lines):
        if line.facts["previous"] != hashlib.sha256(before.octets).hexdigest():
            raise before.wrong(f"it is not the line that was written: line {line.number} holds another digest of it")
    if lines[0].act != BEGIN or lines[0].facts["previous"] != _BEFORE_THE_FIRST:
        raise lines[0].wrong("it does not begin a transcript")
    if lines[-1].act != CLOSE:
        raise lines[-1].wrong("the transcript ends here, before its signed last line: it was cut, or broken off")
    return lines


def read_fragment(path: Path) -> list[Line]:
    """Return the lines of a transcript that was broken off, as far as they are whole; Misconfigured as `read_lines`."""
    lines: list[Line] = []
    for number, text in enumerate(_read(path).splitlines(keepends=True), 1):
        try:
            lines.append(_line(number, text))
        except Malformed:
            break
    return lines


def closing_message(line: Line) -> bytes:
    """Return what the root's key has signed, if the line is genuine."""
    return _PURPOSE + _encode({name: value for name, value in line.facts.items() if name != "signature"})


def _read(path: Path) -> bytes:
    try:
        with path.open("rb") as file:
            octets = file.read(_SIZE_LIMIT + 1)
    except OSError as error:
        raise Misconfigured(f"cannot read {path}: {error.strerror}", advice="name a ceremony's transcript") from None
    if len(octets) > _SIZE_LIMIT:
        raise Misconfigured(f"{path} is too long for a transcript", advice="name a ceremony's transcript")
    return octets


def _line(number: int, text: bytes) -> Line:
    octets = text.removesuffix(b"\n")
    try:
        facts = json.loads(octets)
        is_canonical = text.endswith(b"\n") and isinstance(facts, dict) and _encode(facts) == octets
    except (ValueError, RecursionError):
        is_canonical = False
    if not is_canonical or not facts.keys() >= _OWN or not isinstance(facts["act"], str):
        raise refusal(number, "it is not as a ceremony writes it")
    if facts["line"] != number:
        raise refusal(number, f"it says that it is line {facts['line']}: a line was removed, added or moved")
    return Line(number, facts["act"], facts, octets)
