"""Auth method userpass: local users with passwords, as the Vault HTTP API has it."""

from typing import Any, ClassVar

import msgspec

from pki.audit.trail import Trail
from pki.auth.answers import login_reply
from pki.auth.refusals import record_refusal
from pki.auth.terms import TokenFields, described, refuse
from pki.errors import Malformed, Rejected
from pki.identity.tokens import Made, Tokens
from pki.identity.users import User, Users
from pki.mounts import Mount
from pki.operations.call import Call, Reply, keys
from pki.operations.declare import Engine, NoBody, Verb, operation
from pki.operations.wire import Words
from pki.storage.database import Tx

_DISPLAY_LIMIT = 128
_NO_HASHES = {"password_hash": "send `password`: it is hashed here"}


class UserRequest(TokenFields, frozen=True):
    """A user: what is not sent stays as it is."""

    password: str | None = None
    password_hash: str | None = None


class PasswordRequest(msgspec.Struct, frozen=True):
    """A new password, or the one to log in with."""

    password: str | None = None
    password_hash: str | None = None


class PoliciesRequest(msgspec.Struct, frozen=True):
    """The policies of a user's tokens."""

    token_policies: Words | None = None
    policies: Words | None = None


class UserpassEngine(Engine):
    """Logs people in by name and password."""

    type: ClassVar[str] = "userpass"
    kind: ClassVar[str] = "auth"

    def __init__(self, users: Users, tokens: Tokens, trail: Trail) -> None:
        self._users = users
        self._tokens = tokens
        self._trail = trail

    def has_user(self, call: Call, body: UserRequest, name: str) -> bool:
        """Tell whether a write changes a user that there is."""
        del body
        return self._users.find(call.mount, name) is not None

    @operation(Verb.LIST, "users")
    def list_users(self, call: Call, body: NoBody) -> Reply:
        """List the users."""
        del body
        return keys(self._users.names(call.mount))

    @operation(Verb.READ, "users/<name:name>")
    def read_user(self, call: Call, body: NoBody, name: str) -> Reply:
        """Read a user; nothing of the password is told."""
        del body
        terms = self._users.get(call.mount, name).terms
        return Reply({**described(terms), "policies": terms.policies})

    @operation(Verb.UPDATE, "users/<name:name>", UserRequest, exists=has_user)
    def write_user(self, call: Call, body: UserRequest, name: str) -> None:
        """Make a user, or change one."""
        body.refuse_unsupported()
        refuse(body, _NO_HASHES)
        verifier = None if body.password is None else self._users.verifier(call.mount, name, body.password)

        def work(tx: Tx) -> None:
            user = self._users.set(tx, call.mount, name, body.changed, verifier)
            call.record(tx, **_facts(user), password_set=verifier is not None)

        self._users.write(work)

    @operation(Verb.DELETE, "users/<name:name>")
    def delete_user(self, call: Call, body: NoBody, name: str) -> None:
        """Delete a user; tokens of his live on until they expire or are revoked."""
        del body

        def work(tx: Tx) -> None:
            call.record(tx, deleted=self._users.delete(tx, call.mount, name))

        self._users.write(work)

    @operation(Verb.UPDATE, "users/<name:name>/password", PasswordRequest)
    def set_password(self, call: Call, body: PasswordRequest, name: str) -> None:
        """Give a user another password, which ends a lock-out too."""
        refuse(body, _NO_HASHES)
        if not body.password:
            raise Malformed("missing password", advice="send `password`")
        self._users.get(call.mount, name)
        verifier = self._users.verifier(call.mount, name, body.password)

        def work(tx: Tx) -> None:
            self._users.set_password(tx, call.mount, name, verifier)
            call.record(tx, password_set=True)

        self._users.write(work)

    @operation(Verb.UPDATE, "users/<name:name>/policies", PoliciesRequest)
    def set_policies(self, call: Call, body: PoliciesRequest, name: str) -> None:
        """Name the policies that a user's tokens have from now on."""
        if body.policies is None and body.token_policies is None:
            raise Malformed("missing token_policies", advice="send `token_policies`")
        fields = TokenFields(token_policies=body.token_policies, policies=body.policies)
        fields.refuse_unsupported()

        def work(tx: Tx) -> None:
            call.record(tx, **_facts(self._users.change(tx, call.mount, name, fields.changed)))

        self._users.write(work)

    @operation(Verb.UPDATE, "login/<path:name>", PasswordRequest, open=True, private=True)
    def login(self, call: Call, body: PasswordRequest, name: str) -> Reply:
        """Log in: a token for a password.

        Whatever is wrong, and whether the user is locked out or there is none, the answer and its time are the same.
        """
        if not body.password:
            raise Malformed("missing password", advice="send `password`")
        attempt = self._users.compare(call.mount, name, body.password)

        def work(tx: Tx) -> Made | None:  # a failure returns: raised here, it would break up a group of writes
            judgement = self._users.settle(tx, call.mount, attempt)
            if judgement.terms is None:
                about = f"{call.mount.path}login/{attempt.name}".removesuffix("/")
                record_refusal(self._trail, tx, call, about, reason=judgement.ending, failures=judgement.failures)
                return None
            new = judgement.terms.token(_display_name(call.mount, name), call.path, {"username": name})
            made = self._tokens.add(tx, new)
            call.record(tx, about=call.path, accessor=made.accessor, policies=made.policies, lifetime=made.lifetime)
            return made

        made = self._users.write(work)
        if made is None:
            raise Rejected(
                "invalid username or password", "badLogin", advice="after some failures, wait a quarter of an hour"
            )
        return login_reply(made)


def _facts(user: User) -> dict[str, Any]:
    facts: dict[str, Any] = msgspec.to_builtins(user.terms)
    return facts


def _display_name(mount: Mount, name: str) -> str:
    """Return such as `userpass-alice`: the mount, as much of it as there is room for, and the user."""
    where = mount.path.removeprefix("auth/").strip("/").replace("/", "-")
    return f"{where[: _DISPLAY_LIMIT - 1 - len(name)]}-{name}"
