"""A request to the HTTP API as the pipeline sees it: the wire's spellings are read here, and nowhere else.

Methods, headers and query are those that clients of the Vault HTTP API send: POST and PUT are one verb, a list is asked
for by LIST or by `GET ?list=true`, the token comes in either of two headers, the body is JSON whatever its type says.
"""

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any
from urllib.parse import parse_qsl

from pki.api.errors import UnsupportedOperation
from pki.api.front import Environ, is_canonical
from pki.errors import Malformed
from pki.operations.declare import Verb

PREFIX = "/v1/"
_VERBS: Mapping[str, Verb] = {
    "GET": Verb.READ,
    "HEAD": Verb.READ,
    "POST": Verb.UPDATE,
    "PUT": Verb.UPDATE,
    "PATCH": Verb.PATCH,
    "DELETE": Verb.DELETE,
    "LIST": Verb.LIST,
}
_TRUE = frozenset({"1", "t", "true"})
_FALSE = frozenset({"", "0", "f", "false"})
_QUERY_LIMIT = 64
_NO_WRAPPING = frozenset({"", "0", "0s"})
_NO_QUERY: Mapping[str, str] = {}


@dataclass(frozen=True, slots=True)
class Request:
    """One request. `path` has no `v1/` before it, and ends in a slash exactly if the verb is LIST."""

    id: str
    method: str
    verb: Verb
    path: str
    query: Mapping[str, str]
    body: bytes
    remote: str
    help: bool = False
    token: str | None = field(default=None, repr=False)


def path_of(environ: Environ) -> str:
    """Return the decoded path, without `/v1/`, as it is recorded even where it is refused."""
    decoded: str = environ["PATH_INFO"].encode("latin-1").decode("utf-8", "replace")
    return decoded.removeprefix(PREFIX)


def read_request(environ: Environ, request_id: str) -> Request:
    """Return the request in a WSGI environment (PEP 3333).

    Raises:
        Malformed: its path has more than one spelling, or a header or the query asks for what is not there.
        UnsupportedOperation: no such method.
    """
    method: str = environ["REQUEST_METHOD"]
    verb = _VERBS.get(method)
    if verb is None:
        raise UnsupportedOperation("use GET, LIST, POST, PUT, PATCH, DELETE or HEAD")
    _refuse_unsupported_headers(environ)
    text = environ.get("QUERY_STRING", "")
    query = _query(text) if text else _NO_QUERY
    if verb is Verb.READ and query and _flag(query, "list"):
        verb = Verb.LIST
    return Request(
        id=request_id,
        method=method,
        verb=verb,
        path=_canonical(path_of(environ), verb),
        query=query,
        body=_body(environ),
        remote=environ.get("REMOTE_ADDR", ""),
        help=verb is Verb.READ and bool(query) and _flag(query, "help"),
        token=_token(environ),
    )


def _canonical(path: str, verb: Verb) -> str:
    if not is_canonical("/" + path):
        raise Malformed("the path is not in its canonical spelling", advice="leave out empty, . and .. segments")
    if verb is Verb.LIST:
        return path if path.endswith("/") else path + "/"
    if path.endswith("/"):
        raise Malformed("only a path that is listed ends in a slash", advice="leave the last slash out")
    return path


def _query(text: str) -> Mapping[str, str]:
    try:
        pairs = parse_qsl(text, keep_blank_values=True, errors="strict", max_num_fields=_QUERY_LIMIT)
    except ValueError:
        raise Malformed("the query cannot be read", advice="send UTF-8, and no more than 64 parameters") from None
    query = dict(pairs)
    if not text.isascii() or "\0" in query or any("\0" in value for value in query.values()):
        raise Malformed("the query cannot be read", advice="percent-encode it, and send no NUL")
    if len(query) != len(pairs):
        raise Malformed("a parameter of the query is given twice", advice="give each once")
    return query


def _flag(query: Mapping[str, str], name: str) -> bool:
    value = query.get(name, "").lower()
    if value not in _TRUE and value not in _FALSE:
        raise Malformed(f"the parameter {name} is true or false", advice=f"write {name}=true")
    return value in _TRUE


def _token(environ: Environ) -> str | None:
    """Return the token in X-Vault-Token or in Authorization (RFC 6750 2.1); two that differ are refused."""
    given: str = environ.get("HTTP_X_VAULT_TOKEN", "").strip()
    scheme, _, bearer = environ.get("HTTP_AUTHORIZATION", "").strip().partition(" ")
    bearer = bearer.strip() if scheme.lower() == "bearer" else ""
    if given and bearer and given != bearer:
        raise Malformed("X-Vault-Token and Authorization hold different tokens", advice="send one of them")
    return given or bearer or None


def _refuse_unsupported_headers(environ: Environ) -> None:
    namespace: str = environ.get("HTTP_X_VAULT_NAMESPACE", "").strip().strip("/")
    if namespace not in {"", "root"}:
        raise Malformed("namespaces are not supported: there is the root namespace only", advice="unset the namespace")
    if environ.get("HTTP_X_VAULT_WRAP_TTL", "").strip() not in _NO_WRAPPING:
        raise Malformed("response wrapping is not supported yet", advice="leave X-Vault-Wrap-TTL out")


def _body(environ: Environ) -> bytes:
    length = int(environ.get("CONTENT_LENGTH") or 0)
    incoming: Any = environ["wsgi.input"]
    body: bytes = incoming.read(length) if length else b""
    return body
