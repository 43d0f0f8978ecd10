"""P1: a path has one spelling, and what has another is refused by the front in the dialect of the door behind it."""

import posixpath

import pytest
from hypothesis import given
from hypothesis import strategies as st

from pki.api.front import is_canonical
from tests.pki.api.conftest import Listener
from tests.pki.api.listener import DIALECT
from tests.pki.api.wire import Http2, request

METHODS = [b"GET", b"HEAD", b"POST", b"PUT", b"DELETE", b"PATCH", b"OPTIONS", b"LIST", b"BREW"]
OTHER_SPELLINGS = [
    b"//echo",
    b"/echo//x",
    b"/echo//",
    b"/./echo",
    b"/echo/.",
    b"/../echo",
    b"/echo/..",
    b"/x/../echo",
    b"/%2e/echo",
    b"/%2e%2e/echo",
    b"/%2E%2e/echo",
    b"/.%2e/echo",
    b"/x%2F..%2Fecho",
    b"/x%2F%2Fecho",
    b"/%252e%252e/echo",
    b"/echo%00",
    b"/echo%0d%0aX:%20y",
    b"/echo%0A",
    b"/echo%7f",
    b"/echo%c2%85",
    b"/echo;x=1",
    b"/echo%3bx",
    b"/echo\\x",
    b"/echo%5cx",
    b"/echo%",
    b"/echo%zz",
    b"/echo%25",
    b"/echo%3fx=1",
    b"/echo%23x",
    b"/%c0%ae%c0%ae/echo",
    b"/%e0%80%af/echo",
    b"/%f0%80%80%af/echo",
    b"/%ff",
    b"/%ed%a0%80",
    b"echo",
    b"*",
]


@pytest.mark.parametrize("target", OTHER_SPELLINGS)
def test_other_spellings_are_400_in_the_dialect(listener: Listener, target: bytes) -> None:
    """P1: empty and dot segments, encoded or not, control characters, `;`, backslash, `%`, what is not UTF-8."""
    reply = listener.ask(request(target))
    assert reply.status == 400
    assert reply.headers["content-type"] == DIALECT
    assert reply.headers["cache-control"] == "no-store"
    assert reply.document["detail"] == "the path is not in its canonical spelling"


@pytest.mark.parametrize("method", METHODS)
def test_other_spellings_are_400_for_every_method(listener: Listener, method: bytes) -> None:
    """P1: the front does not look at the method."""
    for target in (b"//echo", b"/%2e%2e/echo", b"/echo%00", b"/echo;x"):
        assert listener.ask(request(target, method)).status == 400


def test_other_spellings_are_400_over_http2(listener: Listener) -> None:
    """P1: the rule is the same, whatever the version."""
    for path in ("//echo", "/x/../echo", "/%2e%2e/echo", "/echo%00", "/echo;x", "/echo%5cx", "/%c0%ae/echo"):
        exchange = Http2(listener.port)
        exchange.headers("GET", path, end=True)
        answer = exchange.answer()
        assert answer is not None
        assert b'"refused": 400' in answer


def test_raw_control_characters_never_get_in(listener: Listener) -> None:
    """P1, RFC 9112 3.2: the server library itself answers 400, without a dialect."""
    for octet in (*range(0x21), 0x7F):
        assert listener.ask(request(b"/echo" + bytes([octet]) + b"x")).status in {400, 505}


def test_what_is_served_is_the_decoded_path(listener: Listener) -> None:
    """P1: an encoded letter or slash is that letter or slash for whoever authorises, records and serves."""
    spellings = {
        b"/%65cho": "/echo",
        b"/a%2Fb": "/a/b",
        b"/a%2fb": "/a/b",
        b"/a/": "/a/",
        b"/A": "/A",
        b"/caf%C3%A9": "/caf\N{LATIN SMALL LETTER E WITH ACUTE}",
        b"/caf\xc3\xa9": "/caf\N{LATIN SMALL LETTER E WITH ACUTE}",
        b"/a+b": "/a+b",
        b"/a?b=%2e%2e/;": "/a",
        b"/a#b": "/a",
        b"http://elsewhere.example/a": "/a",
    }
    for target, path in spellings.items():
        document = listener.ask(request(target)).document
        assert document["PATH_INFO"].encode("latin-1").decode() == path


SEGMENTS = st.lists(st.sampled_from([".", "..", "", "a", "...", ".a", "%2e", "\\", ";", "\0", "\x85", "\ufffd", "é"]))
TEXTS = st.one_of(st.text(), SEGMENTS.map(lambda parts: "/" + "/".join(parts)))


@given(TEXTS)
def test_a_canonical_path_is_its_own_normal_form(path: str) -> None:
    """P1: nothing that normalises paths, decodes them again or cuts them at a mark changes a canonical path."""
    if not is_canonical(path):
        return
    assert posixpath.normpath(path) == (path.rstrip("/") or "/")
    assert not set(path) & set("\\;%?#\x7f\ufffd")
    assert not any(ord(letter) < 0x20 or 0x7F <= ord(letter) < 0xA0 for letter in path)
