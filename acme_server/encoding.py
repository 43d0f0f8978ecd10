"""JSON and base64url, read strictly: whatever two readers could understand differently is refused."""

import base64
import binascii
import json
import re
from collections.abc import Mapping
from typing import Any

import orjson

from acme_server.problems import malformed

DEPTH_LIMIT = 16

_BASE64URL = re.compile(r"[A-Za-z0-9_-]*+")
_TO_STANDARD = bytes.maketrans(b"-_", b"+/")
_LAST = {0: "", 2: "AQgw", 3: "AEIMQUYcgkosw048"}
"""The last character of a text by what its length is beyond a multiple of four: its unused bits are zero."""
_STRUCTURE = re.compile(rb'"(?:[^"\\]++|\\.)*+"?|[\[\]{}]', re.DOTALL)
"""A string (which may lack its end) or one bracket. Every branch is possessive, so that the time is linear."""


class _DuplicateError(ValueError):
    """An object has two members of one name."""


def encode_base64url(octets: bytes) -> str:
    """Return `octets` in base64url without padding (RFC 7515 2)."""
    return base64.urlsafe_b64encode(octets).decode().rstrip("=")


def decode_base64url(text: str, what: str) -> bytes:
    """Return the octets that `text` encodes; `what` names it in the refusal.

    Raises:
        Problem: malformed: padding, a character outside base64url, an impossible length, or unused bits that are set
            (RFC 8555 6.1; RFC 4648 3.5), so that no two texts stand for the same octets.
    """
    beyond = len(text) % 4
    if _BASE64URL.fullmatch(text) is None or beyond not in _LAST:
        raise malformed(f"{what} is not base64url without padding")
    if beyond and text[-1] not in _LAST[beyond]:
        raise malformed(f"{what} is base64url whose unused last bits are not zero")
    return binascii.a2b_base64(text.encode("ascii").translate(_TO_STANDARD) + b"=" * (-beyond % 4))


def _depth(text: bytes) -> int:
    """Return how deep `text` is nested at most; without many brackets there is nothing to look for."""
    brackets = text.count(b"{") + text.count(b"[")
    if brackets <= DEPTH_LIMIT:
        return brackets
    deepest = level = 0
    for match in _STRUCTURE.finditer(text):
        first = match[0][:1]
        if first in b"[{":
            level += 1
            deepest = max(deepest, level)
        elif first in b"]}":
            level -= 1
    return deepest


def _members(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    members = dict(pairs)
    if len(members) != len(pairs):
        raise _DuplicateError
    return members


_DECODER = json.JSONDecoder(object_pairs_hook=_members)


def parse_object(text: bytes, what: str) -> dict[str, Any]:
    """Return the JSON object in `text`; `what` names it in the refusal.

    The caller bounds the size. Depth is bounded before any parser runs, since Python's own recurses.

    Raises:
        Problem: malformed: not UTF-8 JSON (RFC 8259) without a byte order mark, not an object, nested too deeply, two
            members of one name, a number outside the range of a double, or half a surrogate pair.
    """
    if _depth(text) > DEPTH_LIMIT:
        raise malformed(f"{what} is nested more than {DEPTH_LIMIT} deep")
    try:
        orjson.loads(text)
        value = _DECODER.decode(text.decode())
    except _DuplicateError:
        raise malformed(f"{what} has two members of one name") from None
    except ValueError:
        raise malformed(f"{what} is not JSON") from None
    if not isinstance(value, dict):
        raise malformed(f"{what} is not a JSON object")
    return value


def text_member(members: Mapping[str, Any], name: str, what: str) -> str:
    """Return the member `name`, which must be there and be text.

    Raises:
        Problem: malformed.
    """
    value = members.get(name)
    if not isinstance(value, str):
        raise malformed(f"{what} must have a member {name}, which is text")
    return value
