"""JSON and base64url, read strictly."""

import json
import time

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from acme_server.encoding import DEPTH_LIMIT, decode_base64url, encode_base64url, parse_object, text_member
from acme_server.problems import Problem, ProblemType
from tests.counts import count


@pytest.mark.parametrize(
    "text",
    ["YQ==", "YQ=", "Y", "YWJj\n", " YWJj", "YW Jj", "YW+j", "YW/j", "YR", "YWK", "YWJjZ", "ÿ", "YQ\x00"],
)
def test_only_one_text_stands_for_some_octets(text: str) -> None:
    """X14: padding, white space, other alphabets and set unused bits are malformed (RFC 8555 6.1)."""
    with pytest.raises(Problem, match="the csr is") as caught:
        decode_base64url(text, "the csr")
    assert caught.value.type is ProblemType.MALFORMED


@given(st.binary(max_size=200))
def test_base64url_comes_back(octets: bytes) -> None:
    """What is encoded decodes to the same octets."""
    assert decode_base64url(encode_base64url(octets), "x") == octets


@given(st.text(max_size=12))
def test_a_text_that_decodes_is_the_one_encoding(text: str) -> None:
    """X14: decoding is injective: an accepted text is what encoding gives."""
    try:
        octets = decode_base64url(text, "x")
    except Problem:
        return
    assert encode_base64url(octets) == text


@pytest.mark.parametrize(
    "text",
    [
        b'{"a":1,"a":1}',
        b'{"a":{"b":1,"b":2}}',
        b'{"a":1,"\\u0061":2}',
        b"[]",
        b'"{}"',
        b"",
        b"{",
        b"{} {}",
        b"{'a':1}",
        b'{"a":1,}',
        b'{"a":NaN}',
        b'{"a":Infinity}',
        b'{"a":1e999}',
        b'{"a":' + b"9" * 5000 + b"}",
        b'{"a":"\\ud800"}',
        b'{"a":"\xed\xa0\x80"}',
        b'{"a":"\x00"}',
        b"\xef\xbb\xbf{}",
        '{"a":1}'.encode("utf-16"),
        '{"a":1}'.encode("utf-32-le"),
        b"\xff{}",
    ],
)
def test_ambiguous_or_broken_json_is_malformed(text: bytes) -> None:
    """X14, D1: duplicate members, other encodings, NaN, huge numbers and half surrogates are refused."""
    with pytest.raises(Problem) as caught:
        parse_object(text, "the request")
    assert caught.value.type is ProblemType.MALFORMED


def test_depth_is_bounded_exactly() -> None:
    """D1: sixteen levels are read, seventeen refused; brackets within strings do not count."""
    inner = DEPTH_LIMIT - 1
    assert parse_object(b'{"a":' + b"[" * inner + b"]" * inner + b"}", "x")
    assert parse_object(b'{"a":"' + b"[{" * 50 + b'\\"[["}', "x")
    with pytest.raises(Problem, match="nested more than 16 deep"):
        parse_object(b'{"a":' + b"[" * DEPTH_LIMIT + b"]" * DEPTH_LIMIT + b"}", "x")


@pytest.mark.parametrize(
    "text", [b"[" * 100_000, b'{"a":' * 20_000, b'"' + b'\\"' * 60_000, b'{"a' * 40_000, b"\\" * 99_999]
)
def test_hostile_json_takes_no_time(text: bytes) -> None:
    """D1, D2: depth 10^5 and strings that never end are refused in linear time, without recursion."""
    begun = time.monotonic()
    with pytest.raises(Problem):
        parse_object(text, "x")
    assert time.monotonic() - begun < 1


@settings(max_examples=count(200, 5000))
@given(
    st.dictionaries(
        st.text(max_size=5), st.recursive(st.none() | st.booleans() | st.text(max_size=5), st.lists, max_leaves=5)
    )
)
def test_what_json_writes_is_read(value: dict[str, object]) -> None:
    """Every object that is not deep is read as any reader reads it."""
    try:
        text = json.dumps(value, ensure_ascii=False).encode()
    except UnicodeEncodeError:
        return
    assert parse_object(text, "x") == value


def test_a_member_must_be_text() -> None:
    """A missing member and one of another type are both malformed."""
    assert text_member({"a": "b"}, "a", "x") == "b"
    for members in ({}, {"a": 1}, {"a": None}, {"a": ["b"]}):
        with pytest.raises(Problem, match="must have a member a"):
            text_member(members, "a", "x")
