"""Types of the wire: spans of time and lists as clients of the Vault HTTP API write them, and decoding by them."""

import json
import re
from datetime import timedelta
from types import NoneType, UnionType
from typing import Any, TypeVar, Union, get_args, get_origin

import msgspec

from pki.errors import Malformed

S = TypeVar("S", bound=msgspec.Struct)

_UNITS = {"": 1.0, "ns": 1e-9, "us": 1e-6, "µs": 1e-6, "ms": 1e-3, "s": 1.0, "m": 60.0, "h": 3600.0, "d": 86400.0}
_PART = re.compile(r"([0-9]+(?:\.[0-9]+)?)(ns|us|µs|ms|s|m|h|d|)", re.ASCII)
_LONGEST = 100 * 366 * 86400
_BODY_LIMIT = 4 << 20


class Span(timedelta):
    """A span of time: `1h`, `1m0s`, `90`, `"3600s"`, 90 on the wire; "" and 0 are no span, and false in a condition."""

    @classmethod
    def parse(cls, value: object) -> "Span":
        """Read what a client sent.

        Raises:
            ValueError: it is no span of time, or is negative, or is longer than a hundred years.
        """
        seconds = _seconds(value)
        if not 0 <= seconds <= _LONGEST:
            raise ValueError("a span of time is from 0 to 100 years")
        return cls(seconds=seconds)

    @property
    def whole(self) -> int:
        """The span in whole seconds, as answers carry it."""
        return int(self.total_seconds())


def _seconds(value: object) -> float:
    if isinstance(value, (int, float)) and not isinstance(value, bool):
        return float(value)
    if not isinstance(value, str):
        raise ValueError("a span of time is a number of seconds, or text such as 90s or 1h30m")
    rest, total = value.strip(), 0.0
    if not rest:
        return 0.0
    position = 0
    while position < len(rest):
        part = _PART.match(rest, position)
        if part is None or (part[2] == "" and part.end() != len(rest)):
            raise ValueError(f"{value[:32]!a} is no span of time: write 90s or 1h30m")
        total += float(part[1]) * _UNITS[part[2]]
        position = part.end()
    return total


class Words(tuple[str, ...]):
    """A list of texts: a JSON list, or one text with commas; "" is the empty list. Order stays, blanks are trimmed."""

    __slots__ = ()

    @classmethod
    def parse(cls, value: object) -> "Words":
        """Read what a client sent.

        Raises:
            ValueError: it is neither text nor a list of texts.
        """
        if value is None:
            return cls()
        items = value.split(",") if isinstance(value, str) else value
        if not isinstance(items, (list, tuple)) or not all(isinstance(item, str) for item in items):
            raise ValueError("a list of texts is a JSON list, or one text with commas")
        return cls(item.strip() for item in items if item.strip())


class Pairs(dict[str, str]):
    """Names and texts: a JSON object of texts, or that as JSON in a text, as some clients send it; "" is none."""

    @classmethod
    def parse(cls, value: object) -> "Pairs":
        """Read what a client sent.

        Raises:
            ValueError: it is no object of texts.
        """
        if value is None or value == "":
            return cls()
        if isinstance(value, str):
            try:
                value = msgspec.json.decode(value)
            except msgspec.DecodeError:
                raise ValueError("an object of texts is a JSON object") from None
        if not isinstance(value, dict):
            raise ValueError("an object of texts is a JSON object")
        return cls({name: _text(item) for name, item in value.items()})


def _text(value: object) -> str:
    """Return a text as it is, and a whole number as text: some clients send `{"version": 2}`."""
    if isinstance(value, str):
        return value
    if isinstance(value, int) and not isinstance(value, bool):
        return str(value)
    raise ValueError("an object of texts has texts as its values")


_PARSED: dict[type, Any] = {Span: Span.parse, Words: Words.parse, Pairs: Pairs.parse}


def _from_wire(kind: type, value: object) -> object:
    parse = _PARSED.get(kind)
    if parse is None:
        raise NotImplementedError(kind)
    return parse(value)


def decode(body: bytes, kind: type[S]) -> S:
    """Return the body as `kind`; an empty body and `null` are the empty object, unknown members are ignored.

    Members of a wrong JSON type are read leniently: "true" is true, "5" is 5, and null, where it has no meaning of its
    own, is a member that was not sent: some clients send null for all that they leave open. "" is false or 0 where
    nothing but that is meant, since others (hvac's roles of SSH) send it for false. What two readers might
    understand in two ways is refused (RFC 8259 4, 6): members given twice, numbers beyond 64 bits, NaN.

    Raises:
        Malformed: it is not JSON, or a member is not what it must be; the message names it.
    """
    if len(body) > _BODY_LIMIT:
        raise Malformed("the body is too large")
    if not body or body.strip() in {b"", b"null"}:
        return _DECODERS.decode(b"{}", kind)
    try:
        _STRICT.decode(body.decode())
        try:
            decoded = _DECODERS.decode(body, kind)
        except msgspec.ValidationError as error:
            if "got `null`" not in str(error) and "got `str`" not in str(error):
                raise
            decoded = _DECODERS.decode(_without_blanks(body, kind), kind)
    except _Ambiguous as error:
        raise Malformed(f"the request's body {error}", advice="send each member once, numbers in 64 bits") from None
    except msgspec.ValidationError as error:
        raise Malformed(f"the request's body: {error}") from None
    except (ValueError, RecursionError):
        raise Malformed("the request's body is not a JSON object", advice="send JSON, in UTF-8") from None
    if b"\\u0000" in body and _has_nul(decoded):
        raise Malformed("the request's body has a NUL in a text", advice="leave it out")
    return decoded


def _without_blanks(body: bytes, kind: type[msgspec.Struct]) -> bytes:
    """Return the body without members that are null where `kind` says nothing of null, and with false or 0 for ""."""
    document = msgspec.json.decode(body)
    if isinstance(document, dict):
        _mend_blanks(document, kind)
    return msgspec.json.encode(document)


def _mend_blanks(document: dict[str, Any], kind: type[msgspec.Struct]) -> None:
    for member in msgspec.structs.fields(kind):
        kinds = get_args(member.type) if get_origin(member.type) in {Union, UnionType} else (member.type,)
        value = document.get(member.encode_name)
        if value is None and NoneType not in kinds:
            document.pop(member.encode_name, None)
        elif value == "" and member.type in {bool, int}:
            document[member.encode_name] = member.type()
        elif isinstance(value, dict):
            for inner in kinds:
                if isinstance(inner, type) and issubclass(inner, msgspec.Struct):
                    _mend_blanks(value, inner)


class _Ambiguous(Exception):
    """JSON that not every reader understands alike."""


def _members(pairs: list[tuple[str, object]]) -> None:
    if len({name for name, _ in pairs}) != len(pairs):
        raise _Ambiguous("has a member twice")


def _integer(text: str) -> None:
    if len(text) > _SURELY_64_BITS and not -(1 << 63) <= int(text[:_LONGEST_INTEGER]) < 1 << 64:
        raise _Ambiguous("has too large a number")


_SURELY_64_BITS = 18
_LONGEST_INTEGER = 40
_STRICT = json.JSONDecoder(object_pairs_hook=_members, parse_int=_integer)
"""Looks for what is ambiguous, and keeps nothing; NaN and infinities are refused by the decoding proper."""


def _has_nul(value: object) -> bool:
    """Tell whether a text has a NUL, which PostgreSQL stores in no text; values of any JSON are not looked into."""
    if isinstance(value, msgspec.Struct):
        return any(_has_nul(getattr(value, name)) for name in value.__struct_fields__)
    if isinstance(value, Pairs):
        return any("\0" in text for pair in value.items() for text in pair)
    if isinstance(value, (list, tuple)):
        return any(_has_nul(item) for item in value)
    return isinstance(value, str) and "\0" in value


class _Decoders:
    """A decoder of bodies for each Struct, made when it is first needed."""

    def __init__(self) -> None:
        self._known: dict[type, msgspec.json.Decoder[Any]] = {}

    def decode(self, body: bytes, kind: type[S]) -> S:
        decoder = self._known.get(kind)
        if decoder is None:
            decoder = self._known[kind] = msgspec.json.Decoder(kind, strict=False, dec_hook=_from_wire)
        decoded: S = decoder.decode(body)
        return decoded


_DECODERS = _Decoders()
