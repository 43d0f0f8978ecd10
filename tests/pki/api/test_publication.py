"""What is published over plain HTTP: CRLs and CA certificates, as other implementations read them."""

import contextlib
import ssl
import subprocess
from collections.abc import Iterator
from datetime import UTC, datetime
from email.utils import parsedate_to_datetime
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit
from wsgiref.util import setup_testing_defaults

import pytest
from cryptography import x509
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.hazmat.primitives.serialization import Encoding
from sqlalchemy import update

from pki.api.front import WsgiApplication
from pki.api.publication import create_publication
from pki.authority.issue import Wanted
from pki.authority.names import Name
from pki.core import Core
from pki.storage.database import Database
from pki.storage.tables import crls, issuers
from tests import postgres
from tests.pki.api.wire import Reply, connect, exchange, receive
from tests.pki.api.wire import request as to
from tests.service import Service


def _ask(application: WsgiApplication, path: str, method: str = "GET", **headers: str) -> Reply:
    environ: dict[str, Any] = {"REQUEST_METHOD": method, "PATH_INFO": path, **headers}
    setup_testing_defaults(environ)
    started: list[Any] = []
    body = b"".join(application(environ, lambda *arguments: started.extend(arguments)))
    return Reply(int(started[0].split(" ")[0]), dict(started[1]), body, 0.0)


@pytest.fixture
def published(core: Core) -> Iterator[WsgiApplication]:
    """Give the application over the house, whose CRLs are published."""
    core.crls.publish_due()
    database = Database.open(core.config.database.url)
    yield create_publication(database)
    database.close()


def _openssl(*arguments: str, octets: bytes) -> str:
    done = subprocess.run(["openssl", *arguments], input=octets, capture_output=True, check=True)
    return done.stdout.decode()


def test_a_crl_is_what_openssl_reads(published: WsgiApplication, core: Core) -> None:
    """X9 S8: the newest one in DER, under its media type (RFC 5280 8, RFC 2585 4.2)."""
    for name in ("root", "intermediate"):
        issuer = core.issuers.named(name)
        reply = _ask(published, f"/crl/{issuer.id}.crl")
        assert (reply.status, reply.headers["content-type"]) == (200, "application/pkix-crl")
        assert reply.headers["content-length"] == str(len(reply.body))
        shown = _openssl("crl", "-inform", "DER", "-noout", "-issuer", "-crlnumber", octets=reply.body)
        assert int(shown.rpartition("0x")[2], 16) == int(reply.headers["etag"].strip('"'))
        crl = x509.load_der_x509_crl(reply.body)
        assert crl.is_signature_valid(issuer.certificate.public_key())  # type: ignore[arg-type]
        assert parsedate_to_datetime(reply.headers["last-modified"]) == crl.last_update_utc


def test_a_revocation_is_in_the_next_crl_that_is_fetched(published: WsgiApplication, core: Core) -> None:
    """X9: number and tag rise, and a client that has the old one gets the new one."""
    path = f"/crl/{core.issuers.named('intermediate').id}.crl"
    key = ec.generate_private_key(ec.SECP256R1()).public_key()
    entry = core.gate.issue(Wanted("default", key, (Name("dns", "a.example"),), "test:me"))
    old = _ask(published, path)
    core.revocation.revoke(entry, 4, "test:me")
    core.crls.publish_due()
    since = {"HTTP_IF_NONE_MATCH": old.headers["etag"], "HTTP_IF_MODIFIED_SINCE": old.headers["last-modified"]}
    new = _ask(published, path, **since)
    assert new.status == 200
    assert int(new.headers["etag"].strip('"')) > int(old.headers["etag"].strip('"'))
    assert x509.load_der_x509_crl(new.body).get_revoked_certificate_by_serial_number(int(entry.serial, 16)) is not None


def test_a_crl_that_is_known_is_304(published: WsgiApplication, core: Core) -> None:
    """RFC 9110 13.1.2, 15.4.5: by its tag, weak or among others, or by any; without a body."""
    path = f"/crl/{core.issuers.named('intermediate').id}.crl"
    whole = _ask(published, path)
    etag = whole.headers["etag"]
    for condition in (etag, f"W/{etag}", f'"other", {etag}', "*", f" {etag} "):
        for method in ("GET", "HEAD"):
            reply = _ask(published, path, method, HTTP_IF_NONE_MATCH=condition)
            assert (reply.status, reply.body) == (304, b"")
            assert reply.headers["etag"] == etag
            assert reply.headers["cache-control"] == whole.headers["cache-control"]
            assert "content-length" not in reply.headers
    for condition in ('"other"', "", etag.strip('"'), ",,,", etag + "x"):
        assert _ask(published, path, HTTP_IF_NONE_MATCH=condition).body == whole.body


def test_the_time_of_a_crl_alone_never_makes_a_304(published: WsgiApplication, core: Core) -> None:
    """X9: two CRLs of one second have one Last-Modified, so If-Modified-Since could hide a revocation."""
    path = f"/crl/{core.issuers.named('intermediate').id}.crl"
    since = _ask(published, path).headers["last-modified"]
    assert _ask(published, path, HTTP_IF_MODIFIED_SINCE=since).status == 200


def test_a_ca_certificate_is_what_openssl_reads(published: WsgiApplication, core: Core) -> None:
    """RFC 5280 4.2.2.1: DER for AIA, and PEM for people; both are the issuer's own certificate."""
    for name in ("root", "intermediate"):
        issuer = core.issuers.named(name)
        der, pem = (_ask(published, f"/ca/{issuer.id}.{form}") for form in ("cer", "pem"))
        assert der.headers["content-type"] == "application/pkix-cert"
        assert der.body == issuer.certificate.public_bytes(Encoding.DER)
        assert pem.body == issuer.certificate.public_bytes(Encoding.PEM)
        subjects = {
            _openssl("x509", "-inform", form, "-noout", "-subject", "-serial", octets=reply.body)
            for form, reply in (("DER", der), ("PEM", pem))
        }
        assert len(subjects) == 1


def test_certificates_point_to_what_is_published(published: WsgiApplication, core: Core) -> None:
    """RFC 5280 4.2.1.13, 4.2.2.1: the CRL and the issuer that a certificate names are there."""
    key = ec.generate_private_key(ec.SECP256R1()).public_key()
    entry = core.gate.issue(Wanted("default", key, (Name("dns", "a.example"),), "test:me"))
    assert entry.certificate is not None
    certificate = x509.load_der_x509_certificate(entry.certificate)
    points = certificate.extensions.get_extension_for_class(x509.CRLDistributionPoints).value
    access = certificate.extensions.get_extension_for_class(x509.AuthorityInformationAccess).value
    crl_url = points[0].full_name[0].value
    crl = x509.load_der_x509_crl(_ask(published, urlsplit(crl_url).path).body)
    issuer = x509.load_der_x509_certificate(_ask(published, urlsplit(access[0].access_location.value).path).body)
    assert crl.issuer == certificate.issuer == issuer.subject
    certificate.verify_directly_issued_by(issuer)


def test_head_is_get_without_a_body(published: WsgiApplication, core: Core) -> None:
    """RFC 9110 9.3.2: the same headers, the length of what GET gives among them."""
    issuer = core.issuers.named("root")
    for path in (f"/crl/{issuer.id}.crl", f"/ca/{issuer.id}.cer", f"/ca/{issuer.id}.pem", "/nowhere"):
        got, head = _ask(published, path), _ask(published, path, "HEAD")
        assert (head.status, head.headers, head.body) == (got.status, got.headers, b"")
        assert head.headers["content-length"] == str(len(got.body))


@pytest.mark.parametrize("method", ["POST", "PUT", "DELETE", "PATCH", "OPTIONS", "TRACE", "get", "BREW"])
def test_nothing_is_written_here(published: WsgiApplication, core: Core, method: str) -> None:
    """Other methods are 405 with Allow where something is published, and 404 elsewhere."""
    reply = _ask(published, f"/crl/{core.issuers.named('root').id}.crl", method)
    assert (reply.status, reply.headers["allow"]) == (405, "GET, HEAD")
    assert _ask(published, "/nowhere", method).status == 404


def test_nothing_else_is_there(published: WsgiApplication, core: Core) -> None:
    """P1: other folders, forms, spellings and issuers are 404, whatever the id is made of."""
    known = core.issuers.named("root").id
    names = [f"{known}.CRL", f"{known}.pem", known, f"{known}.crl.crl", f"{known.upper()}.crl", f" {known}.crl"]
    names += [f"{known}.crl/", f"x/{known}.crl", ".crl", "%.crl", "_.crl", "' OR 1=1 --.crl", "x" * 9000 + ".crl", ""]
    paths = [f"/crl/{name}" for name in names]
    paths += ["/", "/crl", "/ca", f"/CRL/{known}.crl", f"/ca/{known}.crl", f"/ca/{known}.der", f"/ca/{known}.key"]
    paths += ["/acme/default/directory", "/v1/sys/health", "/crl/root.crl", "/ca/intermediate.pem", "/metrics"]
    assert {path: _ask(published, path).status for path in paths} == dict.fromkeys(paths, 404)


def test_only_what_is_finished_is_published(published: WsgiApplication, core: Core) -> None:
    """X9: reserved CRLs and issuers that are not active are not there."""
    issuer = core.issuers.named("intermediate")
    path = f"/crl/{issuer.id}.crl"
    core.database.write(lambda tx: tx.execute(update(crls).values(state="reserved")))
    core.database.write(lambda tx: tx.execute(update(issuers).values(state="reserved")))
    assert _ask(published, path).status == 404
    assert _ask(published, f"/ca/{issuer.id}.cer").status == 404


@contextlib.contextmanager
def _gone(database: Database, server: postgres.Server | None) -> Iterator[None]:
    """Write over the SQLite file, or have the PostgreSQL server turn everybody away for a while."""
    name = database.url.database or ""
    if server is None:
        for suffix in ("", "-wal", "-shm"):
            with Path(name + suffix).open("r+b") as file:
                file.write(b"no database!" * 1000)
        yield
        return
    server.run(f'ALTER DATABASE "{name}" ALLOW_CONNECTIONS false')
    try:
        server.run(f"SELECT pg_terminate_backend(pid) FROM pg_stat_activity WHERE datname = '{name}'")  # noqa: S608
        yield
    finally:
        server.run(f'ALTER DATABASE "{name}" ALLOW_CONNECTIONS true')


def test_without_its_database_it_is_503(published: WsgiApplication, core: Core, request: pytest.FixtureRequest) -> None:
    """A relying party tries again; nothing of the reason is told."""
    path = f"/crl/{core.issuers.named('root').id}.crl"
    server = None if core.database.dialect == "sqlite" else postgres.server(request.config)
    with _gone(core.database, server):
        reply = _ask(published, path)
        again = _ask(published, path, "HEAD")
    assert (reply.status, reply.headers["cache-control"]) == (503, "no-store")
    assert reply.body == b"the database does not answer; try again\n"
    assert (again.status, again.body) == (503, b"")
    if server is not None:
        assert _ask(published, path).status == 200


def _crl_path(service: Service) -> bytes:
    """Return the path of the CRL that the server's own certificate names."""
    pem = ssl.get_server_certificate(("127.0.0.1", urlsplit(service.address).port or 0))
    certificate = x509.load_pem_x509_certificate(pem.encode())
    points = certificate.extensions.get_extension_for_class(x509.CRLDistributionPoints).value
    return urlsplit(str(points[0].full_name[0].value)).path.encode()


def test_the_service_publishes_on_its_plain_listener(service: Service) -> None:
    """X9: with the length on HEAD, 304 without a body, and nothing of ACME."""
    port = urlsplit(service.http_address).port
    assert port is not None
    path = _crl_path(service)
    got, head = exchange(port, to(path)), exchange(port, to(path, b"HEAD"))
    assert x509.load_der_x509_crl(got.body).next_update_utc > datetime.now(UTC)  # type: ignore[operator]
    assert (head.status, head.body, head.headers["content-length"]) == (200, b"", str(len(got.body)))
    known = exchange(port, to(path, b"GET", b"If-None-Match: " + got.headers["etag"].encode()))
    assert (known.status, known.body) == (304, b"")
    assert exchange(port, to(b"/crl//" + path[5:])).status == 400
    assert exchange(port, to(b"/acme/default/directory")).status == 404
    assert exchange(port, to(path, b"POST", b"Content-Length: 5000")).status == 413


def test_the_plain_listener_speaks_http_1_alone(service: Service) -> None:
    """D1: no connection stays there without a deadline while its version is found out."""
    port = urlsplit(service.http_address).port
    assert port is not None
    with connect(port) as connection:
        connection.sendall(b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n")
        assert receive(connection) == b""
