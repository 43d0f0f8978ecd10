"""Values and custom metadata: what may be stored, in which octets, and how a patch changes it."""

from collections.abc import Mapping
from typing import Any

import orjson

from pki.errors import Malformed

VALUE_LIMIT = 1 << 20
"""Octets of a value as it is sealed."""
_AROUND = 8
"""Levels that an answer may put around a value: the encoder takes 254 in all."""
_KEYS, _KEY_OCTETS, _TEXT_OCTETS = 64, 128, 512


def encode(data: Mapping[str, Any]) -> bytes:
    """Return the octets that are sealed: JSON, without blanks, in the order of its names.

    Raises:
        Malformed: it is too large, nested more than about 240 deep, or holds a number of more than 64 bits.
    """
    try:
        octets = orjson.dumps([[[[[[[[data]]]]]]]], option=orjson.OPT_SORT_KEYS)[_AROUND:-_AROUND]
    except (TypeError, RecursionError):  # the error's own text may show a part of the value
        raise Malformed(
            "the data hold a number of more than 64 bits, or are nested too deeply",
            advice="send such a number as text; nest less than 240 deep",
        ) from None
    if len(octets) > VALUE_LIMIT:
        raise Malformed(
            f"the data take {len(octets)} octets, and {VALUE_LIMIT} are allowed", advice="split them over several paths"
        )
    return octets


def decode(octets: bytes) -> dict[str, Any]:
    """Return what `encode` made octets of."""
    data: dict[str, Any] = orjson.loads(octets)
    return data


def merge(target: Mapping[str, Any], patch: Mapping[str, Any]) -> dict[str, Any]:
    """Return `target` with the merge patch applied: null removes a name, objects are merged (RFC 7396 2)."""
    merged = dict(target)
    for name, value in patch.items():
        if value is None:
            merged.pop(name, None)
        elif isinstance(value, Mapping):
            inner = merged.get(name)
            merged[name] = merge(inner if isinstance(inner, Mapping) else {}, value)
        else:
            merged[name] = value
    return merged


def outline(data: Mapping[str, Any], depth: int) -> dict[str, Any]:
    """Return the names in `data` without their values, to that depth; 0 is all of them."""
    return {
        name: outline(value, depth - 1) if depth != 1 and isinstance(value, Mapping) and value else None
        for name, value in data.items()
    }


def check_custom_metadata(pairs: Mapping[str, str | None]) -> None:
    """Refuse what does not fit beside a secret; None stands for a name to be removed.

    Raises:
        Malformed: too many names, or one or its text is empty, too long or not printable.
    """
    if len(pairs) > _KEYS:
        raise Malformed(f"custom_metadata has {len(pairs)} names, and {_KEYS} are allowed")
    for name, text in pairs.items():
        _check_text("a name", name, _KEY_OCTETS)
        if text is not None:
            _check_text("a text", text, _TEXT_OCTETS)


def _check_text(what: str, text: str, limit: int) -> None:
    if not 0 < len(text.encode(errors="replace")) <= limit or not text.isprintable():
        raise Malformed(f"{what} in custom_metadata is printable, and from 1 to {limit} octets long")
