"""A request and an answer as the door's resources see them, whichever dispatcher stands before."""

from collections.abc import Mapping
from dataclasses import dataclass, field
from http import HTTPStatus
from typing import Any, Self
from urllib.parse import parse_qs

from acme_server.jws import SIZE_LIMIT
from acme_server.problems import Problem, ProblemType


@dataclass(frozen=True, slots=True)
class Request:
    """One request. `path` is decoded, `query` is as it came, `media_type` is in lower case and without parameters."""

    method: str
    path: str
    query: str
    media_type: str
    environ: Mapping[str, Any]

    @classmethod
    def of(cls, environ: Mapping[str, Any]) -> Self:
        """Return the request in a WSGI environment (PEP 3333)."""
        return cls(
            method=environ["REQUEST_METHOD"],
            path=environ["PATH_INFO"].encode("latin-1").decode("utf-8", "replace"),
            query=environ.get("QUERY_STRING", ""),
            media_type=environ.get("CONTENT_TYPE", "").partition(";")[0].strip().lower(),
            environ=environ,
        )

    def body(self) -> bytes:
        """Return the body, which can be read once.

        Raises:
            Problem: malformed (413): it is longer than a request may be.
        """
        length = int(self.environ.get("CONTENT_LENGTH") or 0)
        if length > SIZE_LIMIT:
            raise Problem(ProblemType.MALFORMED, f"a request has {SIZE_LIMIT} octets at most", status=413)
        body: bytes = self.environ["wsgi.input"].read(length)
        return body

    def argument(self, name: str) -> str:
        """Return the first value of that name in the query, or nothing."""
        return parse_qs(self.query).get(name, [""])[0]


@dataclass(slots=True)
class Answer:
    """What is answered; `headers` grow until it is sent, and hold neither the content's type nor its length."""

    status: int = HTTPStatus.OK
    body: bytes = b""
    content_type: str = ""
    headers: list[tuple[str, str]] = field(default_factory=list)
