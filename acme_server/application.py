"""The ACME door as a WSGI application: Flask, with a shorter way to the resources of an order."""

from collections.abc import Callable
from http import HTTPStatus

import orjson
from flask import Flask, request
from werkzeug.routing import BaseConverter
from werkzeug.wrappers import Response

from acme_server import problems
from acme_server.answers import Answers, View
from acme_server.dispatcher import Dispatcher
from acme_server.door import Door, open_door
from acme_server.links import PATTERNS, PREFIX
from acme_server.problems import Problem, ProblemType
from acme_server.views import Views
from acme_server.wire import Answer, Request
from pki.api.front import WsgiApplication, plain_refusal
from pki.core import Core


def _converter(pattern: str) -> type[BaseConverter]:
    """Return the converter of a part of a path that has this pattern; no other text gets as far as the database."""
    return type("Part", (BaseConverter,), {"regex": pattern})


def _response(answer: Answer) -> Response:
    return Response(answer.body, answer.status, answer.headers, content_type=answer.content_type or None)


def _flask_view(answers: Answers, view: View) -> Callable[..., Response]:
    return lambda **parts: _response(answers.of_view(Request.of(request.environ), view, parts))


def serve(door: Door) -> WsgiApplication:
    """Return the WSGI application over `door`."""
    answers, views = Answers(door), Views(door)
    flask = Flask("acme_server", static_folder=None)
    flask.url_map.merge_slashes = False
    flask.url_map.converters.update({name: _converter(pattern) for name, pattern in PATTERNS.items()})
    for path, (methods, view) in views.routes().items():
        rule, function = f"{PREFIX}<profile:profile>/{path}", _flask_view(answers, view)
        flask.add_url_rule(rule, path, function, methods=methods, provide_automatic_options=False)

    def refuse(error: Exception) -> Response:
        return _response(answers.of_error(Request.of(request.environ), error))

    flask.register_error_handler(Exception, refuse)
    flask.wsgi_app = Dispatcher(answers, views.order_routes(), flask.wsgi_app)  # type: ignore[method-assign] # its own idiom
    return flask


def create_application(core: Core) -> WsgiApplication:
    """Return the WSGI application of the TLS listener.

    Raises:
        Sealed, HsmError, DatabaseUnavailable, Misconfigured: the door cannot be opened now.
    """
    return serve(open_door(core))


def refusal(path: str, status: HTTPStatus, detail: str) -> tuple[str, bytes]:
    """Return what the front refuses, before this application is called, as a problem document (pki.api.front)."""
    if not path.startswith(PREFIX):
        return plain_refusal(path, status, detail)
    kind = ProblemType.MALFORMED if status < HTTPStatus.INTERNAL_SERVER_ERROR else ProblemType.SERVER_INTERNAL
    problem = Problem(kind, detail, status=status)
    return problems.CONTENT_TYPE, orjson.dumps(problem.to_document())
