"""One HTTP/1.1 response, read with its size and time bounded, however slowly or endlessly the other side sends."""

import http
import http.client
import io
import socket
from dataclasses import dataclass
from typing import Any, cast

from acme_server.problems import ProblemType
from acme_server.validation.deadline import Deadline
from acme_server.validation.failure import ValidationFailed

BODY_LIMIT = 8 * 1024
_RESPONSE_LIMIT = 64 * 1024


@dataclass(frozen=True, slots=True)
class Response:
    """What is needed of an answer; `body`, read with status 200 only, has BODY_LIMIT + 1 octets at most."""

    status: int
    location: str
    content_encoding: str
    body: bytes


class _Stream(io.RawIOBase):
    """The octets of a connection, up to a limit; each read waits only as long as the deadline allows."""

    def __init__(self, connection: socket.socket, deadline: Deadline) -> None:
        super().__init__()
        self._connection = connection
        self._deadline = deadline
        self._left = _RESPONSE_LIMIT

    def readable(self) -> bool:
        """Return True: this is what it is for."""
        return True

    def readinto(self, buffer: Any) -> int:
        """Read what has come, at most as much as fits; 0 is the end."""
        if self._left <= 0:
            raise ValidationFailed(ProblemType.CONNECTION, f"the response is longer than {_RESPONSE_LIMIT} octets")
        self._connection.settimeout(self._deadline.remaining())
        count = self._connection.recv_into(memoryview(buffer)[: self._left])
        self._left -= count
        return count


class _Source:
    """What `http.client` takes for a socket."""

    def __init__(self, stream: _Stream) -> None:
        self._stream = stream

    def makefile(self, _mode: str) -> io.BufferedReader:
        """Return the stream, buffered."""
        return io.BufferedReader(self._stream)


def _read(connection: socket.socket, deadline: Deadline) -> Response:
    source = cast("socket.socket", _Source(_Stream(connection, deadline)))
    response = http.client.HTTPResponse(source, method="GET")
    try:
        response.begin()
        return Response(
            status=response.status,
            location=str(response.getheader("Location", "")),
            content_encoding=str(response.getheader("Content-Encoding", "")).strip().lower(),
            # Other answers' bodies do not matter, and may never end.
            body=response.read(BODY_LIMIT + 1) if response.status == http.HTTPStatus.OK else b"",
        )
    finally:
        response.close()


def exchange(connection: socket.socket, request: bytes, deadline: Deadline) -> Response:
    """Send `request` and return the response; nothing is decompressed.

    Raises:
        ValidationFailed: connection: it ended, is not HTTP, is too long, or did not come in time.
    """
    try:
        connection.settimeout(deadline.remaining())
        connection.sendall(request)
        return _read(connection, deadline)
    except TimeoutError:
        raise deadline.passed() from None
    except (OSError, http.client.HTTPException, ValueError):
        raise ValidationFailed(ProblemType.CONNECTION, "the connection ended early or does not speak HTTP") from None
