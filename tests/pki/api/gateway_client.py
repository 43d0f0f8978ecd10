"""A client of the gateway in this process, and a small engine whose operations show what reaches them."""

import io
import json
import threading
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

import msgspec

from pki.api.front import WsgiApplication
from pki.errors import Conflict, NotFound, Rejected
from pki.operations.call import Auth, Call, Reply, keys
from pki.operations.declare import Engine, NoBody, Verb, operation
from pki.operations.wire import Pairs, Span, Words
from pki.storage.database import Database, Tx

ENVELOPE = {"request_id", "lease_id", "renewable", "lease_duration", "data", "wrap_info", "warnings", "auth"}


@dataclass(frozen=True, slots=True)
class Answer:
    """An answer as it came."""

    status: int
    headers: dict[str, str]
    body: bytes

    @property
    def document(self) -> dict[str, Any]:
        """The body, read as JSON."""
        document: dict[str, Any] = json.loads(self.body)
        return document

    @property
    def data(self) -> dict[str, Any]:
        """The envelope's data."""
        data: dict[str, Any] = self.document["data"]
        return data

    @property
    def errors(self) -> list[str]:
        """The errors that were answered."""
        errors: list[str] = self.document["errors"]
        return errors


@dataclass(frozen=True, slots=True)
class Client:
    """Sends requests with `token`, if there is one, as the front would hand them over."""

    application: WsgiApplication
    token: str | None = None
    headers: Mapping[str, str] = field(default_factory=dict)

    def ask(self, method: str, path: str, body: object = None, *, query: str = "", **headers: str) -> Answer:
        """Send a request below `/v1/`; `body` is octets, or what becomes JSON. Underscores in names are hyphens."""
        return self.send(method, f"/v1/{path}", body, query=query, **headers)

    def send(self, method: str, path: str, body: object = None, *, query: str = "", **headers: str) -> Answer:
        """Send a request to any path."""
        octets = body if isinstance(body, bytes) else b"" if body is None else json.dumps(body).encode()
        environ: dict[str, Any] = {
            "REQUEST_METHOD": method,
            "PATH_INFO": path.encode(errors="surrogateescape").decode("latin-1"),
            "QUERY_STRING": query,
            "REMOTE_ADDR": "192.0.2.7",
            "CONTENT_LENGTH": str(len(octets)),
            "wsgi.url_scheme": "https",
            "wsgi.input": io.BytesIO(octets),
        }
        sent = {"x_vault_token": self.token, **self.headers, **headers} if self.token else {**self.headers, **headers}
        for name, value in sent.items():
            environ["CONTENT_TYPE" if name == "content_type" else f"HTTP_{name.upper()}"] = value
        begun: list[Any] = []
        chunks = self.application(environ, lambda status, pairs: begun.extend([status, pairs]))
        received = b"".join(chunks)
        return Answer(int(begun[0].split(" ")[0]), {name.lower(): value for name, value in begun[1]}, received)

    def get(self, path: str, query: str = "", **headers: str) -> Answer:
        """Read."""
        return self.ask("GET", path, query=query, **headers)

    def post(self, path: str, body: object = None, **headers: str) -> Answer:
        """Write."""
        return self.ask("POST", path, body, **headers)

    def list(self, path: str) -> Answer:
        """List."""
        return self.ask("LIST", path)

    def delete(self, path: str) -> Answer:
        """Delete."""
        return self.ask("DELETE", path)


class Thing(msgspec.Struct, frozen=True):
    """What can be sent of a thing."""

    value: str = ""
    count: int = 0
    is_good: bool = False
    ttl: Span = Span()
    names: Words = Words()
    notes: Pairs | None = None
    anything: dict[str, Any] | None = None


class Things(Engine):
    """Keeps things in memory, and tells what came in."""

    type = "things"
    keeps_to_spans = True

    def __init__(self, database: Database) -> None:
        self._database = database
        self.kept: dict[str, Thing] = {}
        self.entered = threading.Event()
        self.going_on = threading.Event()

    def _has(self, call: Call, body: Thing, name: str) -> bool:  # noqa: ARG002
        return name in self.kept

    @operation(Verb.LIST, "item")
    def list_items(self, call: Call, body: NoBody) -> Reply:  # noqa: ARG002
        """List the things."""
        return keys(sorted(self.kept))

    @operation(Verb.LIST, "folder/<path:path>")
    def list_folder(self, call: Call, body: NoBody, path: str) -> Reply:  # noqa: ARG002
        """List what is in a folder."""
        return keys([path], {path: call.path})

    @operation(Verb.READ, "item/<name:name>")
    def read_item(self, call: Call, body: NoBody, name: str) -> Reply | None:  # noqa: ARG002
        """Read a thing."""
        thing = self.kept.get(name)
        return None if thing is None else Reply(msgspec.to_builtins(thing, enc_hook=_plain))

    @operation(Verb.UPDATE, "item/<name:name>", Thing, exists=_has)
    def write_item(self, call: Call, body: Thing, name: str) -> None:
        """Keep a thing."""

        def work(tx: Tx) -> None:
            call.record(tx, about=f"thing {name}", count=body.count)

        self._database.write(work)
        self.kept[name] = body

    @operation(Verb.PATCH, "item/<name:name>", Thing)
    def patch_item(self, call: Call, body: Thing, name: str) -> Reply:  # noqa: ARG002
        """Change a thing, and warn of it."""
        return Reply(warnings=[f"{name} was changed to {body.value}"])

    @operation(Verb.DELETE, "item/<name:name>")
    def delete_item(self, call: Call, body: NoBody, name: str) -> None:  # noqa: ARG002
        """Forget a thing."""
        self.kept.pop(name, None)

    @operation(Verb.UPDATE, "echo", Thing)
    def echo(self, call: Call, body: Thing) -> Reply:
        """Tell what came in."""
        return Reply({"query": dict(call.query), "path": call.path, "body": msgspec.to_builtins(body, enc_hook=_plain)})

    @operation(Verb.READ, "public", open=True)
    def read_public(self, call: Call, body: NoBody) -> Reply:  # noqa: ARG002
        """Tell anybody who asks."""
        return Reply({"actor": call.actor}, also_flat=True)

    @operation(Verb.READ, "absent")
    def read_absent(self, call: Call, body: NoBody) -> Reply:  # noqa: ARG002
        """Tell of what is deleted."""
        return Reply({"deleted": True}, absent=True)

    @operation(Verb.UPDATE, "tidy")
    def tidy(self, call: Call, body: NoBody) -> Reply:  # noqa: ARG002
        """Begin to tidy up."""
        return Reply(accepted=True)

    @operation(Verb.READ, "pem")
    def read_pem(self, call: Call, body: NoBody) -> Reply:  # noqa: ARG002
        """Give octets that are no JSON."""
        return Reply(raw=("application/x-pem-file", b"-----BEGIN"))

    @operation(Verb.UPDATE, "login", Thing, open=True)
    def login(self, call: Call, body: Thing) -> Reply:  # noqa: ARG002
        """Hand over a token."""
        if not body.value:
            raise Rejected("invalid credentials", "credentials")
        return Reply(auth=Auth("sw.x", "accessor", ("default",), {"name": body.value}, 3600, renewable=True))

    @operation(Verb.READ, "secret-room", sudo=True)
    def read_room(self, call: Call, body: NoBody) -> Reply:  # noqa: ARG002
        """Read what needs sudo."""
        return Reply({"room": True})

    @operation(Verb.READ, "slow")
    def read_slowly(self, call: Call, body: NoBody) -> Reply:  # noqa: ARG002
        """Read what takes until the test says so."""
        self.entered.set()
        assert self.going_on.wait(10)
        return Reply({"secret": "of slow"})

    @operation(Verb.UPDATE, "fail/<name:name>")
    def fail(self, call: Call, body: NoBody, name: str) -> None:  # noqa: ARG002
        """Fail as the name says."""
        errors = {"conflict": Conflict("too late", advice="read again"), "absent": NotFound("no such thing")}
        raise errors.get(name) or ZeroDivisionError("hunter2-is-the-secret")


def _plain(value: object) -> object:
    return value.whole if isinstance(value, Span) else value
