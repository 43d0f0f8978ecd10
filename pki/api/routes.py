"""Which operation of an engine serves a path below its mount: a werkzeug map, built once from the declarations."""

import contextlib
import inspect
from collections.abc import Mapping

from werkzeug.exceptions import MethodNotAllowed, NotFound
from werkzeug.routing import BaseConverter, Map, Rule

from pki.api.errors import UnsupportedOperation
from pki.operations.declare import Engine, Operation, Verb


class NameConverter(BaseConverter):
    """One segment of a path, as it is; the engine says which names are good."""

    regex = "[^/]+"


_METHODS: Mapping[Verb, str] = {**{verb: verb.upper() for verb in Verb}, Verb.CREATE: Verb.UPDATE.upper()}
"""A write is asked for as an update; whether it creates is found out later."""


class Routes:
    """The operations of one engine by verb and path."""

    def __init__(self, engine: Engine) -> None:
        self.summary = (inspect.getdoc(engine) or "").partition("\n")[0]
        self.operations = tuple(engine.operations())
        rules = [Rule(f"/{item.pattern}", endpoint=item, methods=[_METHODS[item.verb]]) for item in self.operations]
        # Nothing is redirected: a path has one spelling.
        table = Map(rules, converters={"name": NameConverter}, merge_slashes=False, redirect_defaults=False)
        self._adapter = table.bind("")

    def match(self, verb: Verb, path: str) -> tuple[Operation, Mapping[str, str]] | None:
        """Return the operation, and the variables of its pattern; None where the engine does not serve the path.

        Raises:
            UnsupportedOperation: it serves the path, but not for this verb.
        """
        try:
            found, variables = self._adapter.match("/" + path.removesuffix("/"), _METHODS[verb])
        except NotFound:
            return None
        except MethodNotAllowed as error:
            verbs = ", ".join(sorted(error.valid_methods or ())).lower()
            raise UnsupportedOperation(f"this path takes {verbs}") from None
        operation: Operation = found
        return operation, variables

    def all_at(self, path: str) -> list[Operation]:
        """Return every operation on that path, whatever its verb."""
        found: list[Operation] = []
        for verb in (Verb.READ, Verb.LIST, Verb.UPDATE, Verb.PATCH, Verb.DELETE):
            with contextlib.suppress(UnsupportedOperation):
                matched = self.match(verb, path)
                if matched is not None:
                    found.append(matched[0])
        return found
