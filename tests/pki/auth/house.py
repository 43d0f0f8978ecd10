"""The rooms behind the auth methods, and a pipeline before them, over a database of the test's."""

import io
import threading
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from typing import Any, TypeVar

import orjson

from pki.api.answers import Answer
from pki.api.pipeline import Pipeline
from pki.audit.trail import Trail
from pki.auth.approle import ApproleEngine
from pki.auth.token import TokenEngine
from pki.auth.userpass import UserpassEngine
from pki.identity.approles import Approles
from pki.identity.passwords import Passwords
from pki.identity.tokens import Tokens
from pki.identity.users import Users
from pki.ids import Ids
from pki.mounts import AUTH, Mounts
from pki.policy.store import Policies
from pki.storage.database import Database
from tests.clocks import FrozenClock

LOOPBACK = "127.0.0.1"
T = TypeVar("T")


@dataclass
class House:
    """One process of a house; several over one database and clock are its workers."""

    database: Database
    clock: FrozenClock = field(default_factory=lambda: FrozenClock(datetime(2030, 1, 2, 3, 4, 5, tzinfo=UTC)))
    waiting: int = 100

    def __post_init__(self) -> None:
        """Build the rooms."""
        ids = Ids()
        trail = Trail(self.clock, ids, timedelta(seconds=5))
        policies = Policies(self.database, self.clock)
        self.mounts = Mounts(self.database, self.clock, ids)
        self.tokens = Tokens(self.database, self.clock, ids, trail, b"k" * 32)
        self.passwords = Passwords(b"p" * 32, ids, waiting=self.waiting)
        self.users = Users(self.database, self.clock, self.passwords)
        self.approles = Approles(self.database, self.clock, ids, b"s" * 32)
        engines = (
            TokenEngine(self.database, self.clock, self.tokens, policies),
            UserpassEngine(self.users, self.tokens, trail),
            ApproleEngine(self.approles, self.tokens, trail),
        )
        self.pipeline = Pipeline(
            database=self.database,
            trail=trail,
            mounts=self.mounts,
            tokens=self.tokens,
            policies=policies,
            engines={engine.type: engine for engine in engines},
        )
        self.root = ""
        self._requests = 0

    def found(self) -> "House":
        """Make the mounts and a root token, once a database."""
        for name in ("userpass", "approle"):
            self.database.write(
                lambda tx, name=name: self.mounts.add(tx, path=f"auth/{name}/", kind=AUTH, type=name)  # type: ignore[misc]
            )
        self.root = self.tokens.make("root", ("root",), None)
        return self

    def send(
        self,
        method: str,
        path: str,
        body: object = None,
        *,
        token: str | None = None,
        remote: str = LOOPBACK,
        **headers: str,
    ) -> Answer:
        """Answer one request below auth/."""
        octets = body if isinstance(body, bytes) else b"" if body is None else orjson.dumps(body)
        self._requests += 1
        environ: dict[str, Any] = {
            "REQUEST_METHOD": method,
            "PATH_INFO": f"/v1/auth/{path}".encode().decode("latin-1"),
            "QUERY_STRING": "",
            "REMOTE_ADDR": remote,
            "CONTENT_LENGTH": str(len(octets)),
            "wsgi.input": io.BytesIO(octets),
            **{f"HTTP_{name.upper()}": value for name, value in headers.items()},
        }
        if token is not None:
            environ["HTTP_X_VAULT_TOKEN"] = token
        return self.pipeline.handle(environ, f"request-{id(self)}-{self._requests}")

    def ask(self, method: str, path: str, body: object = None, **more: Any) -> tuple[int, Any]:
        """Return status and body of one request by an administrator."""
        return _read(self.send(method, path, body, **{"token": self.root, **more}))

    def data(self, method: str, path: str, body: object = None) -> dict[str, Any]:
        """Return the data of an administrator's request, which succeeds."""
        status, answer = self.ask(method, path, body)
        assert status == 200, answer
        data: dict[str, Any] = answer["data"]
        return data

    def log_in(self, path: str, body: object, **more: Any) -> tuple[int, Any]:
        """Return status and body of a login, which sends no token."""
        return _read(self.send("POST", path, body, **more))

    def self_of(self, token: str) -> Any:
        """Return what lookup-self says, None where it is refused."""
        status, answer = self.ask("GET", "token/lookup-self", token=token)
        return answer["data"] if status == 200 else None

    def events(self, action: str) -> list[tuple[str, str, dict[str, Any]]]:
        """Return (object, outcome, detail) of all events of an action, in no order."""
        with self.database.read() as tx:
            query = f"SELECT object, outcome, detail FROM audit_events WHERE action = '{action}'"  # noqa: S608
            return [(row[0], row[1], orjson.loads(row[2])) for row in tx.exec_driver_sql(query)]

    def everything(self) -> str:
        """Return all rows that this house writes, as text."""
        tables = ("audit_events", "userpass_users", "approle_roles", "approle_secret_ids", "tokens")
        with self.database.read() as tx:
            return "\n".join(str(tx.exec_driver_sql(f"SELECT * FROM {table}").all()) for table in tables)  # noqa: S608


def _read(answer: Answer) -> tuple[int, Any]:
    return int(answer.status), orjson.loads(answer.body) if answer.body else None


def together(count: int, act: Callable[[int], T]) -> list[T]:
    """Return what `act` gave for each number, all of them begun at once."""
    barrier = threading.Barrier(count)

    def run(number: int) -> T:
        barrier.wait()
        return act(number)

    with ThreadPoolExecutor(count) as pool:
        return list(pool.map(run, range(count)))
