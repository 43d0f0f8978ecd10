"""The gateway behind the front of a running service: what the one refuses looks like what the other does."""

import contextlib
import socket
import ssl
import time
from urllib.parse import urlsplit

import pytest

from tests.pki.api import wire
from tests.service import Service


def _ask(service: Service, octets: bytes) -> wire.Reply:
    address = urlsplit(service.address)
    context = ssl.create_default_context(cafile=str(service.ca_file))
    with (
        socket.create_connection((address.hostname, address.port), timeout=20) as plain,
        context.wrap_socket(plain, server_hostname=address.hostname) as connection,
    ):
        with contextlib.suppress(BrokenPipeError, ConnectionResetError):
            connection.sendall(octets)
        begun = time.monotonic()
        answer = wire.receive(connection)
        return wire.parse(answer, time.monotonic() - begun)


def test_health_is_told_over_tls(service: Service) -> None:
    """Every worker answers, to GET and to HEAD; with HSTS, and stored by nobody."""
    answers = [_ask(service, wire.request(b"/v1/sys/health", method)) for method in (b"GET", b"HEAD") for _ in range(4)]
    assert [answer.status for answer in answers] == [200] * 8
    assert answers[0].document["initialized"] is True
    assert answers[-1].body == b""
    assert answers[0].headers["strict-transport-security"] == "max-age=31536000"
    assert _ask(service, wire.request(b"/healthz")).body == b"ok\n"


@pytest.mark.parametrize(
    "path",
    [
        b"sys//mounts",
        b"sys/./mounts",
        b"x/../sys/mounts",
        b"x/%2e%2e/sys/mounts",
        b"sys/mounts%00",
        b"a;b",
        b"a%5cb",
        b"%c0%af",
    ],
)
@pytest.mark.parametrize("method", [b"GET", b"LIST", b"PUT"])
def test_a_path_with_a_second_spelling_is_400_in_the_dialect(service: Service, method: bytes, path: bytes) -> None:
    """P1: by the front already, with the errors of this API."""
    answer = _ask(service, wire.request(b"/v1/" + path, method))
    assert (answer.status, answer.headers["content-type"]) == (400, "application/json")
    assert answer.document["errors"] == ["the path is not in its canonical spelling"]
    assert answer.document["code"] == "malformed"


def test_an_encoded_slash_is_a_slash_and_is_authorised_as_one(service: Service) -> None:
    """P1: the decoded path is the path, so that this is a token's to ask for, like the plain one."""
    answers = [
        _ask(service, wire.request(path)) for path in (b"/v1/sys%2Fmounts", b"/v1/sys/mounts", b"/v1/%73ys/mounts")
    ]
    assert [(answer.status, answer.document["code"]) for answer in answers] == [(403, "unauthenticated")] * 3


def test_a_body_that_is_too_large_is_413_in_the_dialect(service: Service) -> None:
    """D1: by its announced length, before it is read; a client learns it within a second."""
    answer = _ask(service, wire.request(b"/v1/secret/data/x", b"PUT", b"Content-Length: 1073741824"))
    assert (answer.status, answer.document["code"]) == (413, "too_large")
    assert answer.seconds < 1


def test_methods_of_this_api_come_through(service: Service) -> None:
    """LIST and PATCH reach the gateway, which asks for a token; a method of nobody's is 405."""
    answers = [_ask(service, wire.request(b"/v1/secret/metadata", method)) for method in (b"LIST", b"PATCH", b"SCAN")]
    assert [answer.status for answer in answers] == [403, 403, 405]
