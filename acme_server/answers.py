"""The answers of all resources: what they return or raise, completed with the headers that every answer has."""

import logging
import re
from collections.abc import Callable
from http import HTTPStatus

import orjson
from werkzeug.exceptions import HTTPException, MethodNotAllowed

from acme_server import problems
from acme_server.door import Door
from acme_server.links import PREFIX, PROFILE_PATTERN
from acme_server.problems import Problem, ProblemType
from acme_server.wire import Answer, Request
from hsm.errors import HsmError
from pki.errors import HsmFailure, SealwardError

logger = logging.getLogger("sealward.acme")

View = Callable[..., Answer]
"""A function of a request and of the parts of its path, by their names."""

_IN_PROFILE = re.compile(f"{PREFIX}({PROFILE_PATTERN})/(.*)", re.DOTALL)
_COMMON = (
    ("Access-Control-Allow-Origin", "*"),
    ("Access-Control-Expose-Headers", "Link, Location, Replay-Nonce, Retry-After"),
    ("X-Content-Type-Options", "nosniff"),
)
_DAY = "86400"


def problem_answer(problem: Problem) -> Answer:
    """Return the answer that is this problem."""
    body = orjson.dumps(problem.to_document())
    return Answer(problem.status, body, problems.CONTENT_TYPE, list(problem.headers.items()))


def _of_http(error: HTTPException) -> Problem:
    """Return what a dispatcher itself refuses as a problem."""
    status = error.code or HTTPStatus.INTERNAL_SERVER_ERROR
    if isinstance(error, MethodNotAllowed):
        allowed = _methods(error)
        detail = f"this resource takes {allowed}; to read it, send a signed POST with an empty payload (RFC 8555 6.3)"
        return Problem(ProblemType.MALFORMED, detail, status=status, headers={"Allow": allowed})
    is_absent = status == HTTPStatus.NOT_FOUND
    detail = "there is no such resource; begin at the directory" if is_absent else "the request cannot be read"
    kind = ProblemType.MALFORMED if status < HTTPStatus.INTERNAL_SERVER_ERROR else ProblemType.SERVER_INTERNAL
    return Problem(kind, detail, status=status)


def _methods(error: MethodNotAllowed) -> str:
    return ", ".join(sorted(error.valid_methods or ()))


def _preflight(error: MethodNotAllowed) -> Answer:
    """Answer a browser that asks whether it may send a request (RFC 8555 6.1)."""
    methods = _methods(error)
    headers = [
        ("Allow", methods),
        ("Access-Control-Allow-Methods", methods),
        ("Access-Control-Allow-Headers", "Content-Type"),
        ("Access-Control-Max-Age", _DAY),
    ]
    return Answer(HTTPStatus.NO_CONTENT, headers=headers)


class Answers:
    """Gives each request its answer: that of a view, or the refusal that follows from what was raised."""

    def __init__(self, door: Door) -> None:
        self._door = door

    def of_view(self, request: Request, view: View, parts: dict[str, str]) -> Answer:
        """Return the whole answer of `view`, called with the parts of the path."""
        try:
            answer = view(request, **parts)
        except Exception as error:  # noqa: BLE001 - all of them are answered, and logged if nobody foresaw them
            answer = self._refuse(request, error)
        return self._complete(request, answer)

    def of_error(self, request: Request, error: Exception) -> Answer:
        """Return the whole answer to what was raised before a view was found."""
        return self._complete(request, self._refuse(request, error))

    def _refuse(self, request: Request, error: Exception) -> Answer:
        """Return the answer to what was raised; what nobody foresaw is logged, and tells the client nothing."""
        if isinstance(error, Problem):
            return problem_answer(error)
        if isinstance(error, MethodNotAllowed) and request.method == "OPTIONS":
            return _preflight(error)
        if isinstance(error, HTTPException):
            return problem_answer(_of_http(error))
        if isinstance(error, HsmError):
            error = HsmFailure(error.message, advice=error.advice)
        if isinstance(error, SealwardError):
            return problem_answer(_of_house(request, error))
        return problem_answer(self._unforeseen(request, error))

    def _unforeseen(self, request: Request, error: Exception) -> Problem:
        request_id = self._door.ids.new()
        message = "%a %a failed, request id %s"
        logger.error(message, request.method, request.path, request_id, exc_info=error)
        detail = f"the server failed; its operator finds the reason under the request id {request_id}"
        return Problem(ProblemType.SERVER_INTERNAL, detail)

    def _complete(self, request: Request, answer: Answer) -> Answer:
        """Add the headers that all answers have (RFC 8555 6.1, 6.5, 7.1)."""
        headers = answer.headers
        headers += _COMMON
        found = _IN_PROFILE.fullmatch(request.path)
        is_directory = found is not None and found[2] == "directory"
        if not is_directory or request.method == "POST" or answer.status != HTTPStatus.OK:
            headers.append(("Replay-Nonce", self._door.nonces.issue()))
            headers.append(("Cache-Control", "no-store"))
        if found is not None and not is_directory:
            headers.append(("Link", f'<{self._door.links(found[1]).directory}>;rel="index"'))
        return answer


def _of_house(request: Request, error: SealwardError) -> Problem:
    problem = problems.from_error(error)
    if problem.status >= HTTPStatus.INTERNAL_SERVER_ERROR:
        logger.error("%a %a is answered with %d: %s", request.method, request.path, problem.status, error)
    return problem
