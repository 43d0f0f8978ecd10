"""A client of a running service's HTTP API, which tells an answer from none."""

import contextlib
import http.client
import json
import ssl
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from cryptography import x509

from tests.faults.crash_load import CutOffError
from tests.service import Service

_TIMEOUT = 10.0


@dataclass(frozen=True, slots=True)
class Reply:
    """What was answered."""

    status: int
    body: bytes

    @property
    def document(self) -> dict[str, Any]:
        """The body as JSON."""
        document: dict[str, Any] = json.loads(self.body)
        return document

    @property
    def data(self) -> dict[str, Any]:
        """The envelope's data."""
        data: dict[str, Any] = self.document["data"]
        return data


class Api:
    """Asks the service at a port of this machine, with a token; each request has a connection of its own."""

    def __init__(self, port: int, ca_file: Path, token: str) -> None:
        self._port = port
        self._context = ssl.create_default_context(cafile=str(ca_file))
        self.token = token

    @classmethod
    def of(cls, service: Service) -> "Api":
        """Return a client with the root token of a service."""
        return cls(int(service.address.rpartition(":")[2]), service.ca_file, service.ready["token"])

    def send(self, method: str, path: str, body: bytes = b"", **headers: str) -> Reply:
        """Send octets below `/v1/`; raise CutOffError where there is no answer. `_` in names of headers is `-`."""
        sent = {"X-Vault-Token": self.token, **{name.replace("_", "-"): value for name, value in headers.items()}}
        connection = http.client.HTTPSConnection("127.0.0.1", self._port, timeout=_TIMEOUT, context=self._context)
        with contextlib.closing(connection):
            try:
                connection.request(method, f"/v1/{path}", body, {k: v for k, v in sent.items() if v})
                response = connection.getresponse()
                return Reply(response.status, response.read())
            except (OSError, http.client.HTTPException) as error:
                raise CutOffError(repr(error)) from error

    def ask(self, method: str, path: str, body: object = None) -> Reply:
        """Send an object."""
        return self.send(method, path, b"" if body is None else json.dumps(body).encode())

    def get(self, path: str) -> dict[str, Any]:
        """Return the data at a path that is there."""
        return self._must("GET", path, None).data

    def post(self, path: str, body: object = None) -> Reply:
        """Write, successfully."""
        return self._must("POST", path, body)

    def list(self, path: str) -> list[str]:
        """Return the keys below a path."""
        keys: list[str] = self._must("LIST", path, None).data["keys"]
        return keys

    def _must(self, method: str, path: str, body: object) -> Reply:
        reply = self.ask(method, path, body)
        assert reply.status in {200, 204}, (method, path, reply.status, reply.body[:500])
        return reply

    def crl_number(self) -> int:
        """Return the number of the intermediate's last CRL."""
        reply = self.send("GET", "pki/crl")
        crl = x509.load_der_x509_crl(reply.body)
        return crl.extensions.get_extension_for_class(x509.CRLNumber).value.crl_number
