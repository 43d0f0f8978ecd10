"""What a command says of a service that is not there, is another one, or answers what it should not."""

import socket
import time
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest
from cryptography import x509
from cryptography.hazmat.primitives import hashes
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.hazmat.primitives.serialization import Encoding
from cryptography.x509.oid import NameOID

from tests.cli.online.people import Person
from tests.cli.online.sockets import http, server
from tests.service import Service, free_port

TOKEN = "sw.planted-token-of-bad-answers"  # noqa: S105 - nobody's
FINE = b'{"data": {"keys": ["a"]}}'


@pytest.fixture
def caller(tmp_path: Path) -> Person:
    """Somebody with a token, and an address still to be named."""
    person = Person(tmp_path, "https://127.0.0.1:1", None)
    person.environment |= {"SEALWARD_TOKEN": TOKEN, "SEALWARD_TIMEOUT": "10"}
    return person


def told(caller: Person, code: int, answer: bytes) -> str:
    """Return what is said of a server's answer."""
    with server(answer) as running:
        line = caller.fails(code, "policy", "list", "--address", running.address)
    assert TOKEN not in line
    return line


def test_refused_connection_is_unavailable(caller: Person) -> None:
    """Nobody listens: 7, with the address."""
    address = f"https://127.0.0.1:{free_port()}"
    line = caller.fails(7, "policy", "list", "--address", address)
    assert f"cannot reach {address}: Connection refused" in line


def test_unknown_host_is_unavailable(caller: Person) -> None:
    """A name that no address belongs to: 7."""
    assert "cannot reach" in caller.fails(7, "policy", "list", "--address", "https://nowhere.invalid")


def other_root(folder: Path) -> Path:
    """Return the file of a root that has certified nothing."""
    key, name = ec.generate_private_key(ec.SECP256R1()), x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, "Other")])
    now = datetime.now(UTC)
    builder = x509.CertificateBuilder(name, name, key.public_key(), x509.random_serial_number())
    made = builder.not_valid_before(now).not_valid_after(now + timedelta(days=1)).sign(key, hashes.SHA256())
    path = folder / "other.pem"
    path.write_bytes(made.public_bytes(Encoding.PEM))
    return path


def test_wrong_root_is_not_trusted(caller: Person, service: Service, tmp_path: Path) -> None:
    """A service of another CA gets no token: 7, with the way to name its root."""
    words = ("policy", "list", "--address", service.address, "--ca-file", other_root(tmp_path))
    line = caller.fails(7, *words)
    assert f"cannot trust {service.address}" in line
    assert "--ca-file" in line


def test_system_roots_do_not_certify_the_service(caller: Person, service: Service) -> None:
    """Without --ca-file the system's roots decide, and certificates are never left unchecked."""
    assert "cannot trust" in caller.fails(7, "policy", "list", "--address", service.address)


def test_port_without_tls_is_told_apart_from_distrust(caller: Person) -> None:
    """TLS to a port that speaks plain HTTP: 7, and the token was not sent."""
    with server(http("200 OK", FINE)) as running:
        address = running.address.replace("http:", "https:")
        assert "cannot speak TLS" in caller.fails(7, "policy", "list", "--address", address)
    assert all(TOKEN.encode() not in received for received in running.received)


@pytest.mark.parametrize(
    "answer",
    [
        http("200 OK", b"<html>welcome</html>", "text/html"),
        http("200 OK", b"{ no json", "application/json"),
        http("200 OK", b"[]"),
        http("200 OK", b'{"data": "text"}'),
        http("200 OK", b'{"data": {"keys": 7}}'),
        http("200 OK", b""),
        http("200 OK", b"[" * 100_000),
        b"HTTP/1.1 200",
        http("200 OK", b'\xff\xfe{"data": {}}'),
    ],
)
def test_what_is_no_answer_of_this_api_is_a_failure(caller: Person, answer: bytes) -> None:
    """Another server's page, or garbage, is never taken for an empty list: 1."""
    assert "does not speak this API" in told(caller, 1, answer)


def test_answer_that_is_cut_is_unavailable(caller: Person) -> None:
    """Fewer octets than were announced: 7."""
    assert "the answer broke off" in told(caller, 7, http("200 OK", FINE)[:-5])


@pytest.mark.parametrize("answer", [b"", b"SSH-2.0-OpenSSH_10.0\r\n"])
def test_what_is_no_http_is_unavailable(caller: Person, answer: bytes) -> None:
    """A connection closed at once, another protocol: 7."""
    assert "cannot reach" in told(caller, 7, answer)


def test_redirect_is_named_and_not_followed(caller: Person) -> None:
    """The token goes to the address that was named, and to no other: 1."""
    with server(http("200 OK", FINE)) as other:
        line = told(caller, 1, http("307 Temporary Redirect", b"", "text/plain", f"Location: {other.address}/v1/x"))
    assert f"redirects to {other.address}/v1/x" in line
    assert other.received == []


@pytest.mark.parametrize(
    ("status", "body", "code", "said"),
    [
        ("500 Internal Server Error", b'{"errors": ["the service failed"], "request_id": "r-1"}', 1, "request id r-1"),
        ("500 Internal Server Error", b"<html>oops</html>", 1, "the service answered 500"),
        ("502 Bad Gateway", b"", 7, "the service answered 502"),
        ("503 Service Unavailable", b'{"errors": ["sealed"], "code": "sealed"}', 7, "sealed"),
        ("429 Too Many Requests", b'{"errors": ["slower"], "code": "rate_limited"}', 7, "slower"),
        ("403 Forbidden", b'{"errors": ["permission denied"]}', 4, "permission denied"),
        ("403 Forbidden", b'{"errors": ["permission denied"], "code": "unauthenticated"}', 3, "sealward login"),
        ("404 Not Found", b'{"errors": ["no handler"]}', 5, "no handler"),
        ("400 Bad Request", b'{"errors": ["no"], "code": "conflict", "advice": "read"}', 6, "no (read)"),
        ("409 Conflict", b'{"errors": ["taken"]}', 6, "taken"),
        ("400 Bad Request", b'{"errors": ["malformed"], "code": "malformed"}', 1, "malformed"),
        ("400 Bad Request", b'{"errors": "text", "data": 7}', 1, "text"),
    ],
)
def test_every_status_has_its_exit_code(caller: Person, status: str, body: bytes, code: int, said: str) -> None:
    """The code in the answer, else its status, decides how the command exits."""
    assert said in told(caller, code, http(status, body))


def test_slow_server_is_given_up(caller: Person) -> None:
    """No answer within --timeout seconds: 7, about then."""

    def never(connection: socket.socket) -> None:
        connection.recv(1)

    begun = time.monotonic()
    with server(never) as running:
        line = caller.fails(7, "policy", "list", "--address", running.address, "--timeout", "0.5")
    assert "did not answer within 0.5 s" in line
    assert time.monotonic() - begun < 5


def test_dripping_server_is_given_up(caller: Person) -> None:
    """An octet now and then keeps nobody waiting: the time is that of the whole answer."""

    def drip(connection: socket.socket) -> None:
        connection.sendall(http("200 OK", b" " * 1000)[:-1000])
        while True:
            connection.sendall(b" ")
            time.sleep(0.1)

    begun = time.monotonic()
    with server(drip) as running:
        line = caller.fails(7, "policy", "list", "--address", running.address, "--timeout", "1")
    assert "did not answer within 1 s" in line
    assert time.monotonic() - begun < 6


def test_endless_answer_is_given_up(caller: Person) -> None:
    """More octets than any answer has: 1, before memory is full."""

    def flood(connection: socket.socket) -> None:
        connection.sendall(b"HTTP/1.1 200 OK\r\nContent-Type: application/json\r\nConnection: close\r\n\r\n")
        while True:
            connection.sendall(b" " * 1_000_000)

    with server(flood) as running:
        assert "answered more than" in caller.fails(1, "policy", "list", "--address", running.address)


def test_errors_of_a_server_steer_no_terminal(caller: Person) -> None:
    """Escape sequences and line ends in an error arrive as text: one line, printable."""
    body = b'{"errors": ["a\\u001b[2J\\u009b31m\\u202eb\\nsealward: all is well"]}'
    line = told(caller, 1, http("400 Bad Request", body))
    assert line[:-1].isprintable()


@pytest.mark.parametrize("form", ["table", "json", "yaml"])
def test_data_of_a_server_steer_no_terminal(caller: Person, form: str) -> None:
    """What is shown holds no character that is not printable, in any form; names and values, lists and objects."""
    evil = b"\\u001b]0;x\\u0007\\u009b2J\\u202e\\u0085\\ud800"
    body = b'{"data": {"keys": ["k%b"], "n%b": {"m%b": ["v%b\\nsecond"]}}}' % ((evil,) * 4)
    with server(http("200 OK", body)) as running:
        for words in (("policy", "list"), ("token", "lookup")):
            shown = caller.does(*words, "--address", running.address, "-o", form)
            assert shown.replace("\n", "").isprintable()
            assert "second" in shown or words == ("policy", "list")


def test_lines_of_a_value_do_not_pass_for_members(caller: Person) -> None:
    """In a table the further lines of a value stand further in than the names do."""
    body = b'{"data": {"note": "first\\nowner  root", "owner": "eve"}}'
    with server(http("200 OK", body)) as running:
        shown = caller.does("token", "lookup", "--address", running.address)
    assert [line for line in shown.splitlines() if line.startswith("owner")] == ["owner  eve"]


def test_warnings_go_to_stderr(caller: Person) -> None:
    """What the service warns of is told, beside the data."""
    with server(http("200 OK", b'{"data": {"keys": ["a"]}, "warnings": ["beware\\u001b"]}')) as running:
        done = caller.run("policy", "list", "--address", running.address)
    assert (done.returncode, done.stdout, done.stderr) == (0, "a\n", "Warning: beware\ufffd\n")


def test_answer_without_what_was_asked_is_a_failure(caller: Person, tmp_path: Path) -> None:
    """A certificate that is not there is not written, and nothing is left behind."""
    key = tmp_path / "id.pub"
    key.write_text("ssh-ed25519 AAAA")
    with server(http("200 OK", b'{"data": {"certificate": "no PEM", "serial_number": "1"}}')) as running:
        assert "lacks signed_key" in caller.fails(1, "ssh", "sign", "r", key, "--address", running.address)
        assert "no certificate" in caller.fails(1, "cert", "issue", "web", "a.example", "--address", running.address)
    assert {path.name for path in tmp_path.iterdir()} == {"id.pub"}


def test_token_is_sent_once_and_nowhere_else(caller: Person) -> None:
    """The token stands in one header; a .netrc adds no password of its own."""
    (caller.folder / ".netrc").write_text("machine 127.0.0.1 login eve password planted\n")
    (caller.folder / ".netrc").chmod(0o600)
    with server(http("200 OK", FINE)) as running:
        caller.does("policy", "list", "--address", running.address)
    (received,) = running.received
    assert received.count(TOKEN.encode()) == 1
    assert b"authorization" not in received.lower()
