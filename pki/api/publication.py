"""What is published over plain HTTP: CRLs and CA certificates, for GET and HEAD, and nothing else.

A small WSGI callable, since relying parties ask for these far more often than for anything else.
"""

from collections.abc import Callable, Iterable
from http import HTTPStatus
from typing import Any

from cryptography import x509
from cryptography.hazmat.primitives.serialization import Encoding
from sqlalchemy import select

from pki.api.front import Environ, WsgiApplication
from pki.clock import from_ms
from pki.errors import DatabaseUnavailable
from pki.storage.database import Database
from pki.storage.tables import crls, issuers

Answer = tuple[HTTPStatus, list[tuple[str, str]], bytes]
_TEXT = "text/plain; charset=utf-8"


def _plain(status: HTTPStatus, text: str) -> Answer:
    return status, [("content-type", _TEXT), ("cache-control", "no-store")], f"{text}\n".encode()


def _http_date(milliseconds: int) -> str:
    return from_ms(milliseconds).strftime("%a, %d %b %Y %H:%M:%S GMT")


def _is_known(etag: str | None, condition: str | None) -> bool:
    """Tell whether If-None-Match names the tag (RFC 9110 13.1.2).

    If-Modified-Since is not asked: two CRLs may have been made within one second, the later with a revocation more.
    """
    if etag is None or condition is None:
        return False
    return condition.strip() == "*" or etag in {tag.strip().removeprefix("W/") for tag in condition.split(",")}


class Publication:
    """Answers from the database; nothing here needs the HSM or a token."""

    def __init__(self, database: Database) -> None:
        self._database = database

    def __call__(self, environ: Environ, start_response: Callable[..., Any]) -> Iterable[bytes]:
        """Answer one request (WSGI, PEP 3333)."""
        status, headers, body = self._answer(environ["REQUEST_METHOD"], environ["PATH_INFO"])
        if status == HTTPStatus.OK and _is_known(dict(headers).get("etag"), environ.get("HTTP_IF_NONE_MATCH")):
            status, body = HTTPStatus.NOT_MODIFIED, b""
        else:
            headers.append(("content-length", str(len(body))))
        start_response(f"{status.value} {status.phrase}", headers)
        return [b"" if environ["REQUEST_METHOD"] == "HEAD" else body]

    def _answer(self, method: str, path: str) -> Answer:
        folder, _, name = path[1:].partition("/")
        issuer_id, _, form = name.rpartition(".")
        try:
            answer = self._find(folder, issuer_id, form)
        except DatabaseUnavailable:
            return _plain(HTTPStatus.SERVICE_UNAVAILABLE, "the database does not answer; try again")
        if answer is None:
            return _plain(HTTPStatus.NOT_FOUND, "nothing is published here")
        if method not in {"GET", "HEAD"}:
            status, headers, body = _plain(HTTPStatus.METHOD_NOT_ALLOWED, "use GET or HEAD")
            return status, [*headers, ("allow", "GET, HEAD")], body
        return answer

    def _find(self, folder: str, issuer_id: str, form: str) -> Answer | None:
        if folder == "crl" and form == "crl":
            return self._crl(issuer_id)
        if folder == "ca" and form in {"cer", "pem"}:
            return self._certificate(issuer_id, form)
        return None

    def _crl(self, issuer_id: str) -> Answer | None:
        query = (
            select(crls.c.der, crls.c.number, crls.c.this_update, crls.c.next_update)
            .where(crls.c.issuer_id == issuer_id, crls.c.state == "published")
            .order_by(crls.c.number.desc())
            .limit(1)
        )
        with self._database.read() as tx:
            row = tx.execute(query).first()
        if row is None or row.der is None:
            return None
        headers = [
            ("content-type", "application/pkix-crl"),
            ("etag", f'"{row.number}"'),
            ("last-modified", _http_date(row.this_update)),
            ("cache-control", "no-cache"),
        ]
        return HTTPStatus.OK, headers, bytes(row.der)

    def _certificate(self, issuer_id: str, form: str) -> Answer | None:
        query = select(issuers.c.certificate).where(issuers.c.id == issuer_id, issuers.c.state == "active")
        with self._database.read() as tx:
            row = tx.execute(query).first()
        if row is None or row.certificate is None:
            return None
        body = bytes(row.certificate)
        if form == "pem":
            body = x509.load_der_x509_certificate(body).public_bytes(Encoding.PEM)
        content_type = "application/pkix-cert" if form == "cer" else "application/x-pem-file"
        return HTTPStatus.OK, [("content-type", content_type), ("cache-control", "max-age=3600")], body


def create_publication(database: Database) -> WsgiApplication:
    """Return the WSGI application of the plain HTTP listener."""
    return Publication(database)
