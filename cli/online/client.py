"""The HTTP API as commands use it: one request, one answer, and errors with exit codes of their own."""

import json
import ssl
import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from http import HTTPStatus
from typing import Any, Protocol

import requests
import urllib3

from cli.online.exits import ApiError, Exit, NotFoundError, refusal
from cli.online.settings import Settings

_CONNECT_SECONDS = 10.0
_MOST = 64 * 1024 * 1024
_PIECE = 64 * 1024
_JSON = "application/json"


@dataclass(frozen=True, slots=True)
class Answer:
    """What the service answered: the members of its envelope, and `document`, all of it. 204 has none of them."""

    status: int
    document: Mapping[str, Any] = field(default_factory=dict)
    data: Mapping[str, Any] = field(default_factory=dict)
    auth: Mapping[str, Any] = field(default_factory=dict)

    def text(self, name: str) -> str:
        """Return a text in `data` without which there is nothing to do.

        Raises:
            ApiError: it is not there.
        """
        return needed(self.data, name)


class Client:
    """Speaks to the service that `settings` name; certificates are verified by `settings.ca_file` or the system.

    `warn` is told what the service warns of.
    """

    def __init__(self, settings: Settings, warn: Callable[[str], None]) -> None:
        self._settings = settings
        self._warn = warn
        self._http = requests.Session()

    def read(self, path: str, **query: str) -> Answer:
        """Return what is at `path`. Raises ApiError."""
        return self._request("GET", path, None, query)

    def read_raw(self, path: str) -> str:
        """Return the text that is at `path`, without an envelope. Raises ApiError."""
        response, body = self._exchange("GET", path, None, {})
        if not response.ok:
            self._answer(response, body)
        try:
            return body.decode()
        except UnicodeDecodeError:
            raise self._foreign() from None

    def find(self, path: str, **query: str) -> Mapping[str, Any]:
        """Return what a list at `path` shows; nothing found is an empty object. Raises ApiError."""
        try:
            return self._request("LIST", path, None, query).data
        except NotFoundError as error:
            if error.is_empty:
                return {}
            raise

    def list(self, path: str) -> list[str]:
        """Return the keys below `path`; none is an empty list. Raises ApiError."""
        keys = self.find(path).get("keys") or []
        if not isinstance(keys, list):
            raise self._foreign()
        return [str(key) for key in keys]

    def write(self, path: str, body: Mapping[str, Any] | None = None) -> Answer:
        """Send `body` to `path` and return the answer. Raises ApiError."""
        return self._request("POST", path, body or {}, {})

    def delete(self, path: str) -> Answer:
        """Delete what is at `path`. Raises ApiError."""
        return self._request("DELETE", path, None, {})

    def _request(self, method: str, path: str, body: Mapping[str, Any] | None, query: Mapping[str, str]) -> Answer:
        return self._answer(*self._exchange(method, path, body, query))

    def _exchange(
        self, method: str, path: str, body: Mapping[str, Any] | None, query: Mapping[str, str]
    ) -> tuple[requests.Response, bytes]:
        """Send one request, and return its answer with its whole body. No redirect is followed: it gets no token."""
        settings = self._settings
        deadline = time.monotonic() + settings.timeout
        try:
            response = self._http.request(
                method,
                f"{settings.address}/v1/{path}",
                data=None if body is None else json.dumps(body).encode(),
                params=query,
                headers={"Accept-Encoding": "identity", "X-Vault-Request": "true"}
                | ({} if body is None else {"Content-Type": _JSON}),
                auth=self._authorise,
                verify=settings.ca_file or True,
                timeout=(min(_CONNECT_SECONDS, settings.timeout), settings.timeout),
                allow_redirects=False,
                stream=True,
            )
            return response, self._body(response, deadline)
        except (requests.RequestException, urllib3.exceptions.HTTPError, ValueError, OSError) as error:
            raise self._unreachable(error) from None

    def _authorise(self, request: requests.PreparedRequest) -> requests.PreparedRequest:
        # An `auth` of our own keeps passwords of a .netrc away, too.
        if self._settings.token:
            request.headers["X-Vault-Token"] = self._settings.token
        return request

    def _body(self, response: requests.Response, deadline: float) -> bytes:
        """Return the body, read piece by piece so that neither its length nor its pace is the server's to choose."""
        raw: _Raw = response.raw
        pieces = bytearray()
        while piece := raw.read1(_PIECE):
            pieces += piece
            if len(pieces) > _MOST:
                raise ApiError(f"{self._settings.address} answered more than {_MOST} octets", Exit.FAILURE)
            if time.monotonic() > deadline:
                raise TimeoutError
        return bytes(pieces)

    def _answer(self, response: requests.Response, body: bytes) -> Answer:
        status, document = response.status_code, self._document(response, body)
        if response.is_redirect or HTTPStatus.MULTIPLE_CHOICES <= status < HTTPStatus.BAD_REQUEST:
            to = response.headers.get("Location", "elsewhere")
            raise ApiError(f"{self._settings.address} redirects to {to}: name the right --address", Exit.FAILURE)
        if not response.ok:
            raise refusal(status, document or {}, has_token=self._settings.token is not None)
        if document is None:
            raise self._foreign()
        data, auth, warnings = (document.get(name) for name in ("data", "auth", "warnings"))
        if not all(isinstance(item, Mapping | None) for item in (data, auth)):
            raise self._foreign()
        for warning in warnings if isinstance(warnings, list) else ():
            self._warn(str(warning))
        return Answer(status, document, data or {}, auth or {})

    def _document(self, response: requests.Response, body: bytes) -> dict[str, Any] | None:
        """Return the answer's JSON object, an empty one if there is nothing, and None if it is something else."""
        if not body and response.ok:
            return {} if response.status_code == HTTPStatus.NO_CONTENT else None
        if response.headers.get("Content-Type", "").partition(";")[0] != _JSON:
            return None
        try:
            document = json.loads(body)
        except (ValueError, RecursionError):
            return None
        return document if isinstance(document, dict) else None

    def _foreign(self) -> ApiError:
        message = f"{self._settings.address} does not speak this API: is it the address of a Sealward service?"
        return ApiError(message, Exit.FAILURE)

    def _unreachable(self, error: Exception) -> ApiError:
        address, causes = self._settings.address, list(_causes(error))
        untrusted = next((item for item in causes if isinstance(item, ssl.SSLCertVerificationError)), None)
        if untrusted is not None:
            message = f"cannot trust {address}: {untrusted.verify_message}; name its root by --ca-file"
        elif any(isinstance(item, ssl.SSLError | requests.exceptions.SSLError) for item in causes):
            message = f"cannot speak TLS with {address}: is it the right port?"
        elif any(map(_is_timeout, causes)):
            message = f"{address} did not answer within {self._settings.timeout:g} s"
        else:
            message = f"cannot reach {address}: {_reason(causes)}; is it the right address, and does it run?"
        return ApiError(message, Exit.UNAVAILABLE)


class _Raw(Protocol):
    """What is used of the answer of requests that is not read yet (urllib3)."""

    def read1(self, amt: int) -> bytes:
        """Return what has come, `amt` octets at most, none at the end."""
        ...


def needed(members: Mapping[str, Any], name: str) -> str:
    """Return a text of an answer without which there is nothing to do.

    Raises:
        ApiError: it is not there.
    """
    value = members.get(name)
    if not isinstance(value, str) or not value:
        raise ApiError(f"the service's answer lacks {name}", Exit.FAILURE)
    return value


def _causes(error: BaseException) -> list[BaseException]:
    """Return an error and what it was made of, as far as its libraries tell."""
    found: list[BaseException] = []
    waiting: list[object] = [error]
    while waiting:
        item = waiting.pop(0)
        if isinstance(item, BaseException) and item not in found:
            found.append(item)
            waiting += [item.__cause__, item.__context__, getattr(item, "reason", None), *item.args]
    return found


def _is_timeout(error: BaseException) -> bool:
    if isinstance(error, urllib3.exceptions.NewConnectionError):  # a time-out by its class alone
        return False
    return isinstance(error, TimeoutError | requests.Timeout | urllib3.exceptions.TimeoutError)


def _reason(causes: list[BaseException]) -> str:
    told = [item.strerror for item in causes if isinstance(item, OSError) and item.strerror]
    if told:
        return str(told[-1])
    if any(isinstance(item, urllib3.exceptions.ProtocolError) for item in causes):
        return "the answer broke off"
    return type(causes[0]).__name__
