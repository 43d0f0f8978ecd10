"""The front's own rules, where today's server library refuses before it: they must not rest on that alone."""

import asyncio
from collections.abc import AsyncIterator
from dataclasses import dataclass, field

import pytest

from pki.api.front import Front
from tests.pki.api.listener import BODY_SECONDS, DIALECT, MAX_BODY, application, refusal


@dataclass
class Headers:
    """An RSGI request's headers."""

    pairs: list[tuple[str, str]]

    def get(self, key: str) -> str | None:
        """Return the first value of that name."""
        return next(iter(self.get_all(key)), None)

    def get_all(self, key: str) -> list[str]:
        """Return all values of that name."""
        return [value for name, value in self.pairs if name == key]

    def items(self) -> list[tuple[str, str]]:
        """Return all names and values."""
        return self.pairs


@dataclass
class Scope:
    """An RSGI scope."""

    headers: Headers
    proto: str = "http"
    http_version: str = "2"
    server: str = "127.0.0.1:8443"
    client: str = "127.0.0.1:50000"
    scheme: str = "https"
    method: str = "POST"
    path: str = "/echo"
    query_string: str = ""
    authority: str | None = "ca.example"


@dataclass
class Exchange:
    """An RSGI exchange, whose body comes in those chunks."""

    chunks: list[bytes]
    status: int = 0
    headers: list[tuple[str, str]] = field(default_factory=list)

    async def __aiter__(self) -> AsyncIterator[bytes]:
        """Yield the chunks."""
        for chunk in self.chunks:
            yield chunk

    def response_bytes(self, status: int, headers: list[tuple[str, str]], body: bytes) -> None:
        """Keep the answer."""
        assert body
        self.status, self.headers = status, headers


def _answer(*pairs: tuple[str, str], chunks: tuple[bytes, ...] = (b"hello",)) -> Exchange:
    exchange = Exchange(list(chunks))
    front = Front(application, refusal, threads=1, max_body=MAX_BODY, body_timeout=BODY_SECONDS)
    asyncio.run(front.__rsgi__(Scope(Headers(list(pairs))), exchange))
    return exchange


NO_NUMBERS = ["abc", "-5", "+5", "5.0", "0x5", "5, 5", "", " ", "5\N{SUPERSCRIPT TWO}", "\N{ARABIC-INDIC DIGIT FIVE}"]


@pytest.mark.parametrize("length", NO_NUMBERS)
def test_a_length_that_is_no_number_is_400_in_the_dialect(length: str) -> None:
    """RFC 9110 8.6: digits of ASCII and nothing else."""
    exchange = _answer(("content-length", length))
    assert exchange.status == 400
    assert ("content-type", DIALECT) in exchange.headers


def test_lengths_that_differ_are_400() -> None:
    """RFC 9110 8.6: the same one several times is one."""
    assert _answer(("content-length", "5"), ("content-length", "6")).status == 400
    assert _answer(("content-length", "5"), ("content-length", "5")).status == 200


def test_a_body_of_another_length_is_400() -> None:
    """D1: neither shorter nor longer than it was announced."""
    assert _answer(("content-length", "6")).status == 400
    assert _answer(("content-length", "4")).status == 400
    assert _answer(("content-length", "05"), chunks=(b"he", b"", b"llo", b"")).status == 200


@pytest.mark.parametrize("length", [str(MAX_BODY + 1), str(1 << 30), "9" * 40, "9" * 10_000])
def test_a_length_over_the_limit_is_413(length: str) -> None:
    """D1: numbers of thousands of digits too, which Python alone would refuse to read."""
    assert _answer(("content-length", length)).status == 413
