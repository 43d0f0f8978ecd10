"""A listener as the service has it, over a small application: `python -m tests.pki.api.listener PORT`.

Its limits are smaller than those of the service, so that tests of them are short.
"""

import io
import json
import sys
from collections.abc import Callable, Iterable, Iterator
from http import HTTPStatus
from typing import Any

from cli.offline import listeners
from pki.api.front import Environ, Front
from pki.config import Endpoint

MAX_BODY = 32768
BODY_SECONDS = 1.0
HEADER_SECONDS = 1.5
SECRET = "hunter2-is-the-secret"  # noqa: S105 - one that must not come out
DIALECT = "application/x-dialect+json"


def refusal(path: str, status: HTTPStatus, detail: str) -> tuple[str, bytes]:
    """Return a refusal in a dialect of its own."""
    return DIALECT, json.dumps({"path": path, "refused": status, "detail": detail}).encode()


def application(environ: Environ, start_response: Callable[..., Any]) -> Iterable[bytes]:
    """Answer with what came in, or fail as the path says (WSGI, PEP 3333)."""
    path = environ["PATH_INFO"]
    if path == "/fail":
        raise RuntimeError(SECRET)
    if path == "/silent":
        return [b"no start_response"]
    start_response("200 OK", [("Content-Type", "application/json")])
    return _break_off() if path == "/break-off" else [_echo(environ)]


def _break_off() -> Iterator[bytes]:
    yield b"so far"
    raise RuntimeError(SECRET)


def _echo(environ: Environ) -> bytes:
    incoming = environ["wsgi.input"]
    assert isinstance(incoming, io.BytesIO)
    values = {key: value for key, value in environ.items() if isinstance(value, str)}
    return json.dumps({**values, "body": incoming.read().decode("latin-1")}).encode()


def main(port: int) -> None:
    """Serve until told to stop."""
    listeners._HEADER_MILLISECONDS = int(HEADER_SECONDS * 1000)

    def load(_target: str) -> Any:
        return Front(application, refusal, threads=4, max_body=MAX_BODY, body_timeout=BODY_SECONDS)

    listeners._server(Endpoint("127.0.0.1", port)).serve(target_loader=load)


if __name__ == "__main__":
    main(int(sys.argv[1]))
