"""The ACME door as a WSGI application: routes, the headers of all answers, and every refusal as a problem document."""

import logging
import re
from http import HTTPStatus

import orjson
from flask import Flask, request
from werkzeug.exceptions import HTTPException, MethodNotAllowed
from werkzeug.routing import BaseConverter
from werkzeug.wrappers import Response

from acme_server import links, problems
from acme_server.door import Door, open_door
from acme_server.jws import SIZE_LIMIT
from acme_server.problems import Problem, ProblemType
from acme_server.validation import VALIDATORS
from acme_server.views import Views
from hsm.errors import HsmError
from pki.api.front import WsgiApplication, plain_refusal
from pki.core import Core
from pki.errors import HsmFailure, SealwardError

logger = logging.getLogger("sealward.acme")

_PREFIX = "/acme/"
_NAME = r"[A-Za-z0-9][A-Za-z0-9._-]{0,63}"
_IN_PROFILE = re.compile(f"{_PREFIX}({_NAME})/")
_EXPOSED = "Link, Location, Replay-Nonce, Retry-After"
_DAY = "86400"


class _Id(BaseConverter):
    """Ids as `Ids.new` makes them; no other text gets as far as the database."""

    regex = links.ID_PATTERN


class _Profile(BaseConverter):
    """Names of profiles."""

    regex = _NAME


class _Challenge(BaseConverter):
    """Types of challenges that there are."""

    regex = "|".join(VALIDATORS)


def _problem_response(problem: Problem) -> Response:
    body = orjson.dumps(problem.to_document())
    return Response(body, problem.status, problem.headers, content_type=problems.CONTENT_TYPE)


def _of_http(error: HTTPException) -> Problem:
    """Return what Flask itself refuses as a problem."""
    status = error.code or HTTPStatus.INTERNAL_SERVER_ERROR
    if isinstance(error, MethodNotAllowed):
        allowed = ", ".join(sorted(error.valid_methods or ()))
        detail = f"this resource takes {allowed}; to read it, send a signed POST with an empty payload (RFC 8555 6.3)"
        return Problem(ProblemType.MALFORMED, detail, status=status, headers={"Allow": allowed})
    details = {
        HTTPStatus.NOT_FOUND: "there is no such resource; begin at the directory",
        HTTPStatus.REQUEST_ENTITY_TOO_LARGE: f"a request has {SIZE_LIMIT} octets at most",
    }
    detail = details.get(HTTPStatus(status), "the request cannot be read")
    kind = ProblemType.MALFORMED if status < HTTPStatus.INTERNAL_SERVER_ERROR else ProblemType.SERVER_INTERNAL
    return Problem(kind, detail, status=status)


def _preflight(error: MethodNotAllowed) -> Response:
    """Answer a browser that asks whether it may send a request (RFC 8555 6.1)."""
    methods = ", ".join(sorted(error.valid_methods or ()))
    headers = {
        "Allow": methods,
        "Access-Control-Allow-Methods": methods,
        "Access-Control-Allow-Headers": "Content-Type",
        "Access-Control-Max-Age": _DAY,
    }
    return Response(status=HTTPStatus.NO_CONTENT, headers=headers)


class _Application:
    """Turns what is raised into answers, and completes them."""

    def __init__(self, door: Door) -> None:
        self._door = door

    def refuse(self, error: Exception) -> Response:
        """Return the answer to what was raised; what nobody foresaw is logged, and tells the client nothing."""
        if isinstance(error, Problem):
            return _problem_response(error)
        if isinstance(error, MethodNotAllowed) and request.method == "OPTIONS":
            return _preflight(error)
        if isinstance(error, HTTPException):
            return _problem_response(_of_http(error))
        if isinstance(error, HsmError):
            error = HsmFailure(error.message, advice=error.advice)
        if isinstance(error, SealwardError):
            return _problem_response(self._of_house(error))
        return _problem_response(self._unforeseen(error))

    def _of_house(self, error: SealwardError) -> Problem:
        problem = problems.from_error(error)
        if problem.status >= HTTPStatus.INTERNAL_SERVER_ERROR:
            logger.error("%a %a is answered with %d: %s", request.method, request.path, problem.status, error)
        return problem

    def _unforeseen(self, error: Exception) -> Problem:
        request_id = self._door.ids.new()
        message = "%a %a failed, request id %s"
        logger.error(message, request.method, request.path, request_id, exc_info=error)
        detail = f"the server failed; its operator finds the reason under the request id {request_id}"
        return Problem(ProblemType.SERVER_INTERNAL, detail)

    def complete(self, response: Response) -> Response:
        """Add the headers that all answers have (RFC 8555 6.1, 6.5, 7.1)."""
        headers = response.headers
        headers["Access-Control-Allow-Origin"] = "*"
        headers["Access-Control-Expose-Headers"] = _EXPOSED
        headers["X-Content-Type-Options"] = "nosniff"
        is_directory = request.endpoint == "directory"
        if not is_directory or request.method == "POST" or response.status_code != HTTPStatus.OK:
            headers["Replay-Nonce"] = self._door.nonces.issue()
            headers["Cache-Control"] = "no-store"
        profile = _IN_PROFILE.match(request.path)
        if profile is not None and not is_directory:
            headers.add("Link", f'<{self._door.links(profile[1]).directory}>;rel="index"')
        return response


def serve(door: Door) -> WsgiApplication:
    """Return the WSGI application over `door`."""
    flask = Flask("acme_server", static_folder=None)
    flask.config["MAX_CONTENT_LENGTH"] = SIZE_LIMIT
    flask.url_map.merge_slashes = False
    flask.url_map.converters.update(id=_Id, profile=_Profile, challenge=_Challenge)
    for path, methods, function in Views(door).routes():
        rule = f"{_PREFIX}<profile:profile>/{path}"
        flask.add_url_rule(rule, function.__name__, function, methods=methods, provide_automatic_options=False)
    application = _Application(door)
    flask.register_error_handler(Exception, application.refuse)
    flask.after_request(application.complete)
    return flask


def create_application(core: Core) -> WsgiApplication:
    """Return the WSGI application of the TLS listener.

    Raises:
        Sealed, HsmError, DatabaseUnavailable, Misconfigured: the door cannot be opened now.
    """
    return serve(open_door(core))


def refusal(path: str, status: HTTPStatus, detail: str) -> tuple[str, bytes]:
    """Return what the front refuses, before this application is called, as a problem document (pki.api.front)."""
    if not path.startswith(_PREFIX):
        return plain_refusal(path, status, detail)
    kind = ProblemType.MALFORMED if status < HTTPStatus.INTERNAL_SERVER_ERROR else ProblemType.SERVER_INTERNAL
    problem = Problem(kind, detail, status=status)
    return problems.CONTENT_TYPE, orjson.dumps(problem.to_document())
