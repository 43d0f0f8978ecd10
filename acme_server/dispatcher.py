"""The short way to the resources of an order, which clients ask for far more often than for all others together.

Flask took some 0.24 ms of CPU a request (docs/explanation/speed.md), more than the signature and the nonce of a
request together. The paths served here are not Flask's: each path has one entry.
"""

import re
from collections.abc import Callable, Iterable, Mapping, Sequence
from http import HTTPStatus
from typing import Any

from werkzeug.exceptions import MethodNotAllowed

from acme_server.answers import Answers, View
from acme_server.links import PATTERNS, PREFIX
from acme_server.wire import Answer, Request
from pki.api.front import Environ, WsgiApplication

_PART = re.compile(r"<(\w+):(\w+)>")
_POST_ONLY = MethodNotAllowed(valid_methods=["POST"])


def _pattern(rule: str) -> re.Pattern[str]:
    """Return the expression for a rule as `Views` writes it: `<id:order_id>` is a part of that pattern and name."""
    return re.compile(_PART.sub(lambda part: f"(?P<{part[2]}>{PATTERNS[part[1]]})", rule))


class Dispatcher:
    """A WSGI application: answers for the resources of `routes`, which all take POST, and hands on all else."""

    def __init__(self, answers: Answers, routes: Mapping[str, View], otherwise: WsgiApplication) -> None:
        self._answers = answers
        self._otherwise = otherwise
        profile = f"{PREFIX}<profile:profile>/"
        self._routes: Sequence[tuple[re.Pattern[str], View]] = [
            (_pattern(profile + rule), view) for rule, view in routes.items()
        ]

    def __call__(self, environ: Environ, start_response: Callable[..., Any]) -> Iterable[bytes]:
        """Answer one request (PEP 3333)."""
        path = environ["PATH_INFO"]
        for pattern, view in self._routes:
            found = pattern.fullmatch(path)
            if found is not None:
                request = Request.of(environ)
                return _send(request, self._answer(request, view, found.groupdict()), start_response)
        return self._otherwise(environ, start_response)

    def _answer(self, request: Request, view: View, parts: dict[str, str]) -> Answer:
        if request.method != "POST":
            return self._answers.of_error(request, _POST_ONLY)
        return self._answers.of_view(request, view, parts)


def _send(request: Request, answer: Answer, start_response: Callable[..., Any]) -> Iterable[bytes]:
    headers = answer.headers
    if answer.status != HTTPStatus.NO_CONTENT:  # RFC 9110 8.6
        headers += [("Content-Type", answer.content_type), ("Content-Length", str(len(answer.body)))]
    start_response(f"{answer.status:d} {HTTPStatus(answer.status).phrase}", headers)
    return [b"" if request.method == "HEAD" else answer.body]
