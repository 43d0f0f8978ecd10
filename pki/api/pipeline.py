"""The one straight way of every request to the HTTP API.

parse -> mount -> operation -> token -> principal -> policy -> body -> engine -> audit -> answer.
"""

import logging
from collections.abc import Mapping
from dataclasses import dataclass
from functools import partial
from http import HTTPStatus
from typing import Any

import msgspec

from pki.api import answers
from pki.api.answers import Answer
from pki.api.errors import PERMISSION_DENIED, UnsupportedOperation, refuse
from pki.api.front import Environ
from pki.api.path_help import help_reply
from pki.api.request import Request, path_of, read_request
from pki.api.routes import Routes
from pki.audit.trail import Event, Trail
from pki.errors import DatabaseUnavailable, Denied, NotFound
from pki.identity.principals import Principal
from pki.identity.tokens import Tokens, without_tokens
from pki.mounts import SYSTEM, Mount, Mounts
from pki.operations.call import Call, Reply
from pki.operations.declare import Engine, NoBody, Operation, Verb
from pki.operations.wire import decode
from pki.policy.acl import Acl, Verdict
from pki.policy.store import Policies
from pki.storage import epochs
from pki.storage.database import Database, Tx

logger = logging.getLogger("sealward.api")

ANONYMOUS = "anonymous"
_PUBLIC_READS = frozenset({Verb.READ, Verb.LIST})
_UNRECORDED = DatabaseUnavailable("the audit event could not be recorded, so nothing is answered")
_OBJECT_LIMIT = 1024
_LOGINS = "auth/"
"""Below it the names of users are paths, and people type a password for their name."""


@dataclass(frozen=True, slots=True)
class _Route:
    """Where a request is served: an operation of the engine that is mounted there, and the variables of its path."""

    mount: Mount
    engine: Engine
    operation: Operation
    variables: Mapping[str, str]

    @property
    def is_public(self) -> bool:
        """Whether it is reading what is open to all, which is counted and not recorded (decision 6)."""
        return self.operation.open and self.operation.verb in _PUBLIC_READS


@dataclass(slots=True)
class _Act:
    """One request, and what becomes known of it on its way. `epoch` is that of what the decision rests on."""

    id: str
    path: str
    remote: str
    action: str = "api.refuse"
    epoch: int | None = None
    mount: Mount | None = None
    route: _Route | None = None
    unserved: Exception | None = None
    principal: Principal | None = None
    decoded: msgspec.Struct | None = None
    is_recorded: bool = False

    @property
    def is_public(self) -> bool:
        """Whether no event tells of it."""
        return self.route is not None and self.route.is_public

    @property
    def told_path(self) -> str:
        """The path as the log holds it: without what may be a secret that was typed in the wrong place."""
        if self.route is not None and self.route.operation.private:
            return f"{self.route.mount.path}{self.route.operation.pattern}"
        if self.route is None and self.principal is None and self.path.startswith(_LOGINS):
            return _printable("/".join(self.path.split("/", 2)[:2])) + "/..."
        return _printable(self.path)

    def body(self, request: Request, operation: Operation) -> msgspec.Struct:
        """Return the body as the operation declares it, decoded once; what it does not read is not looked at."""
        if self.decoded is None:
            self.decoded = decode(b"" if operation.body is NoBody else request.body, operation.body)
        return self.decoded

    def event(self, outcome: str, detail: Mapping[str, Any], about: str | None = None) -> Event:
        """Return the event that tells of the request; its object is the path unless `about` is given."""
        actor = ANONYMOUS if self.principal is None else self.principal.name
        what = self.told_path if about is None else about
        return Event(actor, self.action, what, outcome, {**detail, "remote": self.remote}, self.id)


def _printable(path: str) -> str:
    """Return a path as the log holds it: one that was refused may have any characters in it, and a token too."""
    path = without_tokens(path)
    return path if path.isprintable() and len(path) <= _OBJECT_LIMIT else ascii(path[:_OBJECT_LIMIT])


class Pipeline:
    """Serves requests by `engines`, which are given by type. Nothing is answered that is not recorded."""

    def __init__(
        self,
        *,
        database: Database,
        trail: Trail,
        mounts: Mounts,
        tokens: Tokens,
        policies: Policies,
        engines: Mapping[str, Engine],
    ) -> None:
        self._database = database
        self._trail = trail
        self._mounts = mounts
        self._tokens = tokens
        self._policies = policies
        self._engines = dict(engines)
        self._routes = {name: Routes(engine) for name, engine in engines.items()}

    def handle(self, environ: Environ, request_id: str) -> Answer:
        """Answer one request (a WSGI environment, PEP 3333), whatever happens."""
        act = _Act(request_id, path_of(environ), environ.get("REMOTE_ADDR", ""))
        try:
            return self._serve(act, read_request(environ, request_id))
        except Exception as error:  # noqa: BLE001 - all of them are answered, and logged if nobody foresaw them
            return self._refuse(act, error)

    def _serve(self, act: _Act, request: Request) -> Answer:
        act.path, act.action = request.path, f"api.{'help' if request.help else request.verb}"
        self._find(act, request)
        self._identify(act, request)
        if request.help:
            reply: Reply | None = help_reply(self._routes, act.mount, act.path)
        else:
            call = self._call(act, request)
            self._authorise(act, request, call)
            reply = self._run(act, request, call)
        answer = answers.of_reply(reply, act.id, request.verb, act.action)
        self._record(act, request, answer)
        return answer

    def _find(self, act: _Act, request: Request) -> None:
        """Find mount and operation; that there is none is told after it is known who asks, and what he may do."""
        found = self._match(act, request)
        if found is None:
            act.unserved = _no_handler(act.path)
            return
        act.mount, rest = found
        try:
            matched = self._routes[act.mount.type].match(request.verb, rest)
        except UnsupportedOperation as error:
            act.unserved = error
            return
        if matched is None:
            act.unserved = NotFound("unsupported path", advice=f"GET /v1/{act.mount.path}?help=1 lists what there is")
        elif not request.help:
            act.route = _Route(act.mount, self._engines[act.mount.type], *matched)
            act.action = f"{act.mount.type}.{act.route.operation.name}"

    def _match(self, act: _Act, request: Request) -> tuple[Mount, str] | None:
        if act.path.startswith(SYSTEM.path):  # always there, so that health is told where the database is not
            return SYSTEM, act.path.removeprefix(SYSTEM.path)
        act.epoch = epochs.read(self._database)
        found = self._mounts.match(act.path, epoch=act.epoch)
        if found is None and request.help:  # of the mount itself
            found = self._mounts.match(f"{act.path}/", epoch=act.epoch)
        return found

    def _identify(self, act: _Act, request: Request) -> None:
        if act.route is not None and act.route.operation.open:
            return
        if act.epoch is None:
            act.epoch = epochs.read(self._database)
        if request.token is None:
            raise Denied(PERMISSION_DENIED, advice="log in, and send the token in X-Vault-Token")
        act.principal = self._tokens.authenticate(request.token)

    def _call(self, act: _Act, request: Request) -> Call:
        return Call(
            request_id=act.id,
            mount=act.mount or SYSTEM,
            path=act.path,
            query=request.query,
            remote=act.remote,
            recorder=partial(self._record_within, act, request),
            principal=act.principal,
            client_token=request.token,
        )

    def _authorise(self, act: _Act, request: Request, call: Call) -> None:
        """Refuse what no policy of the principal allows.

        Raises:
            Denied: with the capability that is missing, which tells nothing of the policies.
        """
        if act.principal is None:
            return
        acl = self._policies.acl(act.principal.policies, epoch=act.epoch)
        verdict = self._decide(act, request, call, acl)
        if not verdict.allowed:
            wanted = " and ".join(verdict.missing)
            raise Denied(PERMISSION_DENIED, advice=f"a policy must give you {wanted} on {act.path}, and none deny it")

    def _decide(self, act: _Act, request: Request, call: Call, acl: Acl) -> Verdict:
        if act.route is None:
            return acl.decide(act.path, request.verb)
        operation = act.route.operation
        if operation.exists is None:
            return acl.decide(act.path, operation.verb, sudo=operation.sudo)
        update = acl.decide(act.path, Verb.UPDATE, sudo=operation.sudo)
        create = acl.decide(act.path, Verb.CREATE, sudo=operation.sudo)
        if update.allowed == create.allowed:  # whether it exists makes no difference
            return update
        body = act.body(request, operation)
        return update if operation.exists(act.route.engine, call, body, **act.route.variables) else create

    def _run(self, act: _Act, request: Request, call: Call) -> Reply | None:
        if act.route is None:
            raise act.unserved or _no_handler(act.path)
        body = act.body(request, act.route.operation)
        reply: Reply | None = act.route.operation.function(act.route.engine, call, body, **act.route.variables)
        return reply

    def _record(self, act: _Act, request: Request, answer: Answer) -> None:
        """Record a request that was served, unless it recorded itself."""
        if act.is_recorded or act.is_public:
            return
        event = act.event("success", {"status": int(answer.status)})

        def work(tx: Tx) -> None:
            self._check_epoch(tx, act, request)
            self._trail.record(tx, event)

        self._database.write(work)

    def _record_within(self, act: _Act, request: Request, tx: Tx, about: str | None, detail: Mapping[str, Any]) -> None:
        """Record a request in the transaction of what it does."""
        self._check_epoch(tx, act, request)
        self._trail.record(tx, act.event("success", detail, about))
        act.is_recorded = True

    def _check_epoch(self, tx: Tx, act: _Act, request: Request) -> None:
        """Decide again where mounts, policies or tokens have changed since: what was revoked is refused at once.

        That is by what is committed: of a change that `tx` itself makes, nothing is seen yet.
        """
        if act.epoch is None or epochs.current(tx) == act.epoch:
            return
        act.epoch = epochs.read(self._database)
        found = self._match(act, request)
        if act.mount is not None and (found is None or found[0].id != act.mount.id):
            raise _no_handler(act.path)
        if act.principal is not None:
            act.principal = self._tokens.confirm(act.principal)
            self._authorise(act, request, self._call(act, request))

    def _refuse(self, act: _Act, error: Exception) -> Answer:
        refusal = refuse(error, authenticated=act.principal is not None)
        if refusal.status == HTTPStatus.INTERNAL_SERVER_ERROR:
            logger.error("%s %a failed, request id %s", act.action, act.told_path, act.id, exc_info=error)
        elif refusal.status > HTTPStatus.INTERNAL_SERVER_ERROR:
            logger.error("%s %a is answered with %d: %s", act.action, act.told_path, refusal.status, error)
        if not act.is_public and not isinstance(error, DatabaseUnavailable):
            event = act.event(refusal.outcome, {"status": int(refusal.status), "code": refusal.code})
            try:
                self._database.write(lambda tx: self._trail.record(tx, event))
            except Exception:
                logger.exception("%s %a was not recorded, request id %s", act.action, act.told_path, act.id)
                refusal = refuse(_UNRECORDED)
        return answers.of_refusal(refusal, act.id, act.action)


def _no_handler(path: str) -> NotFound:
    return NotFound(f'no handler for route "{path}". route entry not found.')
