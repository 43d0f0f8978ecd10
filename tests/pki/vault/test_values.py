"""What may be stored under which paths: hostile paths, values and metadata are refused, odd ones are kept exactly."""

from typing import Any

import orjson
import pytest
from hypothesis import given
from hypothesis import strategies as st

from pki.errors import Malformed
from pki.mounts import Mount
from pki.vault.paths import PATH_LIMIT, check_path
from pki.vault.records import Changes
from pki.vault.secrets import Secrets
from pki.vault.values import VALUE_LIMIT, check_custom_metadata, decode, encode, merge, outline
from tests.counts import count

ODD_PATHS = (
    "a b",
    "%2e%2e",
    "a'b\"c;--",
    "\u00e9",
    "e\u0301",
    "\U0001f511/\u202e",
    "...",
    ".a",
    "a:b?c#d",
    "'; DROP TABLE kv_secrets; --",
    "\\x00",
    "x" * PATH_LIMIT,
    "\U0001f511" * (PATH_LIMIT // 4),
)
BAD_PATHS = ("", "/", "/a", "a/", "a//b", ".", "a/../b", "a/.", "a\x00b", "a\nb", "a\x7f", "a\x85", "\ud800",
             "x" * (PATH_LIMIT + 1), "\u00e9" * (PATH_LIMIT // 2 + 1))  # fmt: skip

TEXTS = st.text(st.characters(exclude_categories=["Cs"]))
NUMBERS = st.integers(-(2**63), 2**64 - 1) | st.floats(allow_nan=False, allow_infinity=False)
JSON = st.recursive(
    st.none() | st.booleans() | NUMBERS | TEXTS,
    lambda inner: st.lists(inner, max_size=4) | st.dictionaries(TEXTS, inner),
    max_leaves=12,
)
OBJECTS = st.dictionaries(TEXTS, JSON, max_size=6)


def test_odd_paths_are_kept_apart(secrets: Secrets, mount: Mount) -> None:
    """A path is compared octet by octet: no pattern, no escape and no second form of a letter is another's."""
    for number, path in enumerate(ODD_PATHS):
        secrets.write(mount, path, {"n": number})
    for number, path in enumerate(ODD_PATHS):
        stored = secrets.read(mount, path)
        assert stored is not None
        assert stored.data == {"n": number}
    assert secrets.names(mount) == sorted(
        {name + slash for name, slash, _ in (path.partition("/") for path in ODD_PATHS)}
    )


@pytest.mark.parametrize("path", BAD_PATHS, ids=lambda path: ascii(path)[:24])
def test_what_is_no_path_is_refused_everywhere(secrets: Secrets, mount: Mount, path: str) -> None:
    """Whatever is asked for it, the answer is the same: Malformed, and nothing is written."""
    for act in (
        lambda: secrets.read(mount, path),
        lambda: secrets.exists(mount, path),
        lambda: secrets.write(mount, path, {}),
        lambda: secrets.patch(mount, path, {}),
        lambda: secrets.delete(mount, path),
        lambda: secrets.undelete(mount, path, [1]),
        lambda: secrets.destroy(mount, path, [1]),
        lambda: secrets.metadata(mount, path),
        lambda: secrets.put_metadata(mount, path, Changes(max_versions=1)),
        lambda: secrets.patch_metadata(mount, path, Changes(max_versions=1)),
        lambda: secrets.remove(mount, path),
    ):
        with pytest.raises(Malformed):
            act()
    assert secrets.names(mount) == []


def test_the_largest_value_is_kept_and_one_octet_more_is_refused(secrets: Secrets, mount: Mount) -> None:
    """About a mebibyte is the limit, and the error says so without showing any of it."""
    largest = {"x": "y" * (VALUE_LIMIT - 8)}
    secrets.write(mount, "a", largest)
    stored = secrets.read(mount, "a")
    assert stored is not None
    assert stored.data == largest
    with pytest.raises(Malformed, match=str(VALUE_LIMIT)) as refused:
        secrets.write(mount, "a", {"x": "y" * (VALUE_LIMIT - 7)})
    assert "yyy" not in str(refused.value)
    with pytest.raises(Malformed, match=str(VALUE_LIMIT)):
        secrets.patch(mount, "a", {"z": ""})


@pytest.mark.parametrize("number", [2**64, -(2**63) - 1, 10**40])
def test_numbers_that_would_lose_digits_are_refused(number: int) -> None:
    """A number is stored exactly or not at all; the error does not show it."""
    with pytest.raises(Malformed, match="as text") as refused:
        encode({"n": number})
    assert str(number) not in str(refused.value)


def test_deep_nesting_is_refused(secrets: Secrets, mount: Mount) -> None:
    """What cannot be walked through is not stored, nor merged."""
    deep: Any = {}
    for _ in range(600):
        deep = {"x": deep}
    secrets.write(mount, "a", {})
    for act in (lambda: secrets.write(mount, "a", deep), lambda: secrets.patch(mount, "a", deep)):
        with pytest.raises(Malformed, match="nested too deeply"):
            act()
    deepest: Any = {}
    while _is_fit({"x": deepest}):
        deepest = {"x": deepest}
    secrets.write(mount, "a", deepest)
    stored = secrets.read(mount, "a")
    assert stored is not None
    assert stored.data == deepest
    assert b"x" in orjson.dumps({"data": {"data": {"data": deepest, "metadata": outline(deepest, 0)}}})


def _is_fit(data: Any) -> bool:
    try:
        encode(data)
    except Malformed:
        return False
    return True


@given(OBJECTS)
def test_every_json_object_comes_back_as_it_was(data: dict[str, Any]) -> None:
    """Encoding loses nothing, and does not depend on the order of names."""
    assert decode(encode(data)) == data
    assert encode(dict(reversed(data.items()))) == encode(data)


@given(OBJECTS, OBJECTS)
def test_a_patch_does_what_the_rfc_says(target: dict[str, Any], patch: dict[str, Any]) -> None:
    """RFC 7396 2, its own pseudocode beside ours; applied twice it changes no more than once."""

    def rfc(value: Any, change: Any) -> Any:
        if not isinstance(change, dict):
            return change
        result = dict(value) if isinstance(value, dict) else {}
        for name, part in change.items():
            if part is None:
                result.pop(name, None)
            else:
                result[name] = rfc(result.get(name), part)
        return result

    assert merge(target, patch) == rfc(target, patch)
    assert merge(merge(target, patch), patch) == merge(target, patch)


def test_an_outline_has_names_and_no_values() -> None:
    """Names to the depth that was asked for; what is no object, or an empty one, is null."""
    data = {"a": {"b": {"c": 1}, "e": {}}, "l": [{"x": 1}], "s": "v", "n": None}
    assert outline(data, 0) == {"a": {"b": {"c": None}, "e": None}, "l": None, "s": None, "n": None}
    assert outline(data, 2) == {"a": {"b": None, "e": None}, "l": None, "s": None, "n": None}
    assert outline(data, 1) == {"a": None, "l": None, "s": None, "n": None}


@pytest.mark.parametrize(
    "pairs",
    [{"": "x"}, {"x": ""}, {"k" * 129: "x"}, {"k": "x" * 513}, {"k": "\u00e9" * 257}, {"k": "a\nb"}, {"k\x00": "x"},
     {"k": "\ud800"}, {f"n{n}": "x" for n in range(65)}],
    ids=lambda pairs: ascii(next(iter(pairs.items())))[:24],
)  # fmt: skip
def test_custom_metadata_have_limits(pairs: dict[str, str]) -> None:
    """64 names of 128 octets, texts of 512, printable: they are in clear, and shown to people."""
    check_custom_metadata({"k" * 128: "\u00e9" * 256, "x": "a b"})
    with pytest.raises(Malformed, match="custom_metadata"):
        check_custom_metadata(pairs)


@given(st.text(max_size=count(200, 2000)))
def test_any_text_is_a_path_or_is_refused(text: str) -> None:
    """No text breaks the check; what passes can be stored as text, and has no empty segment."""
    try:
        check_path(text)
    except Malformed:
        return
    assert text.encode()
    assert "\x00" not in text
    assert all(text.split("/"))
