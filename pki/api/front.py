"""The front of every listener: reads a whole request under a deadline, then calls a WSGI application in a thread.

A WSGI server reads bodies in the thread that answers, so sixteen slow clients stop all others. Here the body is
read by the event loop, bounded in size and time, before any thread is taken (docs/decisions/0003).
"""

import asyncio
import io
import sys
from collections.abc import AsyncIterator, Callable, Iterable, Mapping
from concurrent.futures import ThreadPoolExecutor
from http import HTTPStatus
from typing import Any, Protocol

Environ = dict[str, Any]
WsgiApplication = Callable[[Environ, Callable[..., Any]], Iterable[bytes]]
Refusal = Callable[[str, HTTPStatus, str], tuple[str, bytes]]
"""(path, status, detail) to (content type, body): a refusal in the dialect of the door behind that path."""

_FORBIDDEN = frozenset("\\;%\x7f") | frozenset(map(chr, range(0x20)))


def plain_refusal(_path: str, _status: HTTPStatus, detail: str) -> tuple[str, bytes]:
    """Return `detail` as plain text, for doors without a dialect."""
    return "text/plain; charset=utf-8", f"{detail}\n".encode()


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
    headers: Mapping[str, str]


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

    It then holds no empty, `.` or `..` segment, no control character, no backslash, semicolon or per cent sign.
    """
    if not path.startswith("/") or not _FORBIDDEN.isdisjoint(path):
        return False
    segments = path[1:].split("/")
    return not any(segment in {".", ".."} for segment in segments) and "" not in segments[:-1]


class Front:
    """An RSGI application that hands complete, canonical requests to a WSGI application in one of `threads` threads.

    Bodies over `max_body` octets get 413, bodies not complete within `body_timeout` seconds 408, paths that are not
    canonical 400. Header names with `_` are dropped, since WSGI would merge them with those with `-`.
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
        self._executor = ThreadPoolExecutor(threads, thread_name_prefix="request")

    async def __rsgi__(self, scope: Scope, exchange: Exchange) -> None:
        """Answer one request."""
        try:
            body = await self._receive(scope, exchange)
        except _RefusedError as refused:
            content_type, text = self._refusal(scope.path, refused.status, refused.detail)
            headers = [("content-type", content_type), ("cache-control", "no-store"), ("connection", "close")]
            exchange.response_bytes(refused.status, headers, b"" if scope.method == "HEAD" else text)
            return
        loop = asyncio.get_running_loop()
        status, headers, answer = await loop.run_in_executor(self._executor, self._call, _environ(scope, body))
        exchange.response_bytes(status, headers, answer)

    async def _receive(self, scope: Scope, exchange: Exchange) -> bytes:
        if not is_canonical(scope.path):
            raise _RefusedError(HTTPStatus.BAD_REQUEST, "the path is not in its canonical spelling")
        length = scope.headers.get("content-length")
        if length is None and "transfer-encoding" not in scope.headers and scope.http_version[:2] != "2":
            return b""
        if length is not None and (not length.isdecimal() or int(length) > self._max_body):
            raise _RefusedError(HTTPStatus.REQUEST_ENTITY_TOO_LARGE, f"a body has {self._max_body} octets at most")
        chunks: list[bytes] = []
        size = 0
        try:
            async with asyncio.timeout(self._body_timeout):
                async for chunk in exchange:
                    size += len(chunk)
                    if size > self._max_body:
                        detail = f"a body has {self._max_body} octets at most"
                        raise _RefusedError(HTTPStatus.REQUEST_ENTITY_TOO_LARGE, detail)
                    chunks.append(bytes(chunk))
        except TimeoutError:
            detail = f"the body was not complete within {self._body_timeout:g} s"
            raise _RefusedError(HTTPStatus.REQUEST_TIMEOUT, detail) from None
        return b"".join(chunks)

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
