"""D1: bodies that are made to hurt are refused within a second; what is large and honest is taken."""

import time

import pytest

from pki.api.errors import v1_refusal
from tests.pki.api.gateway_client import Client
from tests.pki.api.gateway_fixtures import anonymous, house, root, things

__all__ = ["anonymous", "house", "root", "things"]

HOSTILE = {
    "arrays 100,000 deep": b"[" * 100_000,
    "objects 100,000 deep": b'{"anything":' + b'{"a":' * 100_000,
    "deep and closed": b'{"anything":{"a":' + b"[" * 100_000 + b"]" * 100_000 + b"}}",
    "a member twice": b'{"value":"a","value":"b"}',
    "a member twice below": b'{"anything":{"a":1,"a":2}}',
    "a member twice, spelt in two ways": rb'{"value":"a","v\u0061lue":"b"}',
    "not a number": b'{"anything":{"a":NaN}}',
    "infinite": b'{"anything":{"a":-Infinity}}',
    "a huge integer": b'{"anything":{"a":1' + b"0" * 100_000 + b"}}",
    "an integer beyond 64 bits": b'{"anything":{"a":18446744073709551616}}',
    "a huge float": b'{"anything":{"a":1e999}}',
    "half a surrogate pair": rb'{"value":"\ud800"}',
    "a NUL in a text": rb'{"value":"a\u0000"}',
    "a NUL in pairs": rb'{"notes":{"a":"\u0000"}}',
    "two documents": b"{}{}",
    "a byte order mark": b"\xef\xbb\xbf{}",
    "gzip": b"\x1f\x8b\x08\x00\x00\x00\x00\x00\x00\x03\xab\xae\x05\x00C\xbf\xa6\xa3\x02\x00\x00\x00",
    "over the limit": b'{"value":"' + b"x" * (5 << 20) + b'"}',
}


@pytest.mark.parametrize("body", HOSTILE.values(), ids=HOSTILE.keys())
def test_a_hostile_body_is_400_within_a_second(root: Client, body: bytes) -> None:
    """D1: no depth, size or ambiguity of JSON is more than a refusal."""
    begun = time.monotonic()
    answer = root.post("things/echo", body)
    assert time.monotonic() - begun < 1
    assert (answer.status, answer.document["code"]) == (400, "malformed")
    assert len(answer.body) < 1000


def test_a_million_members_are_answered_within_a_second_or_two(root: Client) -> None:
    """D1: as many as the limit of a body allows; unknown ones are ignored, each known one is checked."""
    body = b"{" + b",".join(b'"k%d":1' % number for number in range(300_000)) + b"}"
    begun = time.monotonic()
    assert len(body) < 4 << 20
    assert root.post("things/echo", body).status == 200
    assert time.monotonic() - begun < 2


def test_a_secret_of_a_mebibyte_is_taken(root: Client) -> None:
    """The largest secret, with what JSON puts around it."""
    value = "s" * (1 << 20)
    assert root.post("things/echo", {"anything": {"value": value}}).data["body"]["anything"]["value"] == value


def test_numbers_of_64_bits_stay_exact(root: Client) -> None:
    """JSON numbers that fit are neither rounded nor turned into text."""
    sent = {"low": -(1 << 63), "high": (1 << 64) - 1, "float": 0.1}
    assert root.post("things/echo", {"anything": sent}).data["body"]["anything"] == sent


def test_a_nul_inside_any_json_is_kept(root: Client) -> None:
    """What is sealed as a whole may hold anything that JSON can say."""
    assert root.post("things/echo", {"anything": {"a": "\0"}}).data["body"]["anything"] == {"a": "\0"}


def test_the_front_refuses_in_the_same_dialect() -> None:
    """What never reaches the gateway looks the same to a client."""
    content_type, body = v1_refusal("/v1/x", 413, "a body has 5 octets at most")  # type: ignore[arg-type] # an int too
    assert (content_type, body) == (
        "application/json",
        b'{"errors":["a body has 5 octets at most"],"code":"too_large"}',
    )
