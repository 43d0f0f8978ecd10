"""The front of every listener: reads a whole request under a deadline, then calls a WSGI application in a thread.

A WSGI server reads bodies in the thread that answers, so sixteen slow clients stop all others. Here the body is
read by the event loop, bounded in size and time, before any thread is taken (docs/decisions/0003).
"""

import asyncio
import io
import logging
import sys
from collections.abc import AsyncIterator, Callable, Iterable
from http import HTTPStatus
from typing import Any, Protocol

from pki.api.threads import Threads
from pki.ids import Ids

logger = logging.getLogger("sealward.front")

Environ = dict[str, Any]
WsgiApplication = Callable[[Environ, Callable[..., Any]], Iterable[bytes]]
Refusal = Callable[[str, HTTPStatus, str], tuple[str, bytes]]
"""(path, status, detail) to (content type, body): a refusal in the dialect of the door behind that path."""

_REPLACEMENT = "\ufffd"
"""What the server library puts in the place of octets that are not UTF-8."""
_CONTROLS = [*range(0x20), *range(0x7F, 0xA0)]
_FORBIDDEN = frozenset("\\;%?#" + _REPLACEMENT) | frozenset(map(chr, _CONTROLS))


def plain_refusal(_path: str, _status: HTTPStatus, detail: str) -> tuple[str, bytes]:
    """Return `detail` as plain text, for doors without a dialect."""
    return "text/plain; charset=utf-8", f"{detail}\n".encode()


class Headers(Protocol):
    """The parts of an RSGI request's headers that are read here; names are lower-case."""

    def get(self, key: str) -> str | None:
        """Return the first value of that name."""
        ...

    def get_all(self, key: str) -> list[str]:
        """Return all values of that name."""
        ...

    def items(self) -> Iterable[tuple[str, str]]:
        """Return all names and values, a name as often as it was sent."""
        ...


class Scope(Protocol):
    """The parts of an RSGI scope that are read here."""

    proto: str
    http_version: str
    server: str
    client: str
    scheme: str
    method: str
    path: str
    query_string: str
    authority: str | None

    @property
    def headers(self) -> Headers:
        """The request's headers."""
        ...


class Exchange(Protocol):
    """The parts of an RSGI HTTP protocol that are used here."""

    def __aiter__(self) -> AsyncIterator[bytes]:
        """Yield the body's chunks."""
        ...

    def response_bytes(self, status: int, headers: list[tuple[str, str]], body: bytes) -> None:
        """Answer with a body."""
        ...


class _RefusedError(Exception):
    """The request is answered here, without a thread."""

    def __init__(self, status: HTTPStatus, detail: str) -> None:
        super().__init__(detail)
        self.status = status
        self.detail = detail


def is_canonical(path: str) -> bool:
    """Tell whether the decoded `path` has one spelling only.

    It then holds no empty, `.` or `..` segment, no control character, no backslash, semicolon, per cent sign, question
    mark or hash, and nothing that was not UTF-8. (An encoded slash cannot be told from a slash: the server library
    hands over the decoded path alone. That one is authorised, recorded and served.)
    """
    if not path.startswith("/") or not _FORBIDDEN.isdisjoint(path):
        return False
    segments = path[1:].split("/")
    return not any(segment in {".", ".."} for segment in segments) and "" not in segments[:-1]


class Front:
    """An RSGI application that hands complete, canonical requests to a WSGI application in one of `threads` threads.

    Bodies over `max_body` octets get 413, bodies not complete within `body_timeout` seconds 408, paths that are not
    canonical and what HTTP itself forbids 400. Header names with `_` are dropped, since WSGI would merge them with
    those with `-`. What the application raises is logged under a request id, which is all that the client learns.
    """

    def __init__(
        self,
        application: WsgiApplication,
        refusal: Refusal,
        *,
        threads: int,
        max_body: int,
        body_timeout: float,
    ) -> None:
        self._application = application
        self._refusal = refusal
        self._max_body = max_body
        self._body_timeout = body_timeout
        self._threads = Threads(threads, "request")

    async def __rsgi__(self, scope: Scope, exchange: Exchange) -> None:
        """Answer one request."""
        try:
            body = await self._receive(scope, exchange)
        except _RefusedError as refused:
            self._refuse(scope, exchange, refused.status, refused.detail)
            return
        environ = _environ(scope, body)
        try:
            status, headers, answer = await self._threads.run(lambda: self._call(environ))
        except Exception:
            request_id = Ids().new()
            logger.exception("%a %a failed, request id %s", scope.method, scope.path, request_id)
            detail = f"the server failed; its operator finds the reason under the request id {request_id}"
            self._refuse(scope, exchange, HTTPStatus.INTERNAL_SERVER_ERROR, detail)
            return
        exchange.response_bytes(status, headers, answer)

    def _refuse(self, scope: Scope, exchange: Exchange, status: HTTPStatus, detail: str) -> None:
        content_type, text = self._refusal(scope.path, status, detail)
        headers = [("content-type", content_type), ("cache-control", "no-store")]
        if not _is_http2(scope):  # where that header is forbidden (RFC 9113 8.2.2)
            headers.append(("connection", "close"))
        exchange.response_bytes(status, headers, b"" if scope.method == "HEAD" else text)

    async def _receive(self, scope: Scope, exchange: Exchange) -> bytes:
        if not is_canonical(scope.path):
            raise _RefusedError(HTTPStatus.BAD_REQUEST, "the path is not in its canonical spelling")
        if scope.http_version == "1.1" and len(scope.headers.get_all("host")) != 1:
            raise _RefusedError(HTTPStatus.BAD_REQUEST, "a request has one Host header")  # RFC 9112 3.2
        coding = scope.headers.get("transfer-encoding")
        if coding is not None and coding.strip().lower() != "chunked":
            raise _RefusedError(HTTPStatus.NOT_IMPLEMENTED, "the only transfer coding here is chunked")  # RFC 9112 6.1
        length = self._announced(scope)
        if length is None and coding is None and not _is_http2(scope):
            return b""
        try:
            async with asyncio.timeout(self._body_timeout):
                chunks = await self._collect(exchange)
        except TimeoutError:
            detail = f"the body was not complete within {self._body_timeout:g} s"
            raise _RefusedError(HTTPStatus.REQUEST_TIMEOUT, detail) from None
        body = b"".join(chunks)
        # Where a body breaks off, the server library gives one empty chunk more than at a good end.
        if (length is not None and len(body) != length) or (coding is not None and chunks.count(b"") > 1):
            raise _RefusedError(HTTPStatus.BAD_REQUEST, "the body is not complete")
        return body

    def _announced(self, scope: Scope) -> int | None:
        """Return the body's length as its header has it, if there is one."""
        values = scope.headers.get_all("content-length")
        if not values:
            return None
        if len(set(values)) != 1 or not (values[0].isascii() and values[0].isdecimal()):
            raise _RefusedError(HTTPStatus.BAD_REQUEST, "the Content-Length is not one number")
        digits = values[0].lstrip("0") or "0"
        if len(digits) > len(str(self._max_body)) or int(digits) > self._max_body:
            raise self._too_large()
        return int(digits)

    async def _collect(self, exchange: Exchange) -> list[bytes]:
        chunks: list[bytes] = []
        size = 0
        async for chunk in exchange:
            size += len(chunk)
            if size > self._max_body:
                raise self._too_large()
            chunks.append(bytes(chunk))
        return chunks

    def _too_large(self) -> _RefusedError:
        return _RefusedError(HTTPStatus.REQUEST_ENTITY_TOO_LARGE, f"a body has {self._max_body} octets at most")

    def _call(self, environ: Environ) -> tuple[int, list[tuple[str, str]], bytes]:
        answer: list[Any] = []

        def start_response(status: str, headers: list[tuple[str, str]], _exc_info: object = None) -> None:
            answer[:] = [int(status.split(" ", 1)[0]), [(name.lower(), value) for name, value in headers]]

        chunks = self._application(environ, start_response)
        try:
            body = b"".join(chunks)
        finally:
            close = getattr(chunks, "close", None)
            if close is not None:
                close()
        return answer[0], answer[1], body


def _is_http2(scope: Scope) -> bool:
    return scope.http_version.startswith("2")


def _environ(scope: Scope, body: bytes) -> Environ:
    host, _, port = scope.server.rpartition(":")
    environ: Environ = {
        "REQUEST_METHOD": scope.method,
        "SCRIPT_NAME": "",
        "PATH_INFO": scope.path.encode().decode("latin-1"),
        "QUERY_STRING": scope.query_string,
        "SERVER_NAME": host,
        "SERVER_PORT": port,
        "SERVER_PROTOCOL": f"HTTP/{scope.http_version}",
        "REMOTE_ADDR": scope.client.rpartition(":")[0].strip("[]"),
        "CONTENT_LENGTH": str(len(body)),
        "wsgi.version": (1, 0),
        "wsgi.url_scheme": scope.scheme,
        "wsgi.input": io.BytesIO(body),
        "wsgi.errors": sys.stderr,
        "wsgi.multithread": True,
        "wsgi.multiprocess": True,
        "wsgi.run_once": False,
    }
    for name, value in scope.headers.items():
        if "_" in name or name == "content-length":
            continue
        key = "CONTENT_TYPE" if name == "content-type" else f"HTTP_{name.upper().replace('-', '_')}"
        environ[key] = f"{environ[key]},{value}" if key in environ else value
    environ.setdefault("HTTP_HOST", scope.authority or scope.server)
    return environ
