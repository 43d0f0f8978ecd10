"""Auth method approle: machines log in by a role-id and a secret-id, as the Vault HTTP API has it."""

from types import MappingProxyType
from typing import Any, ClassVar

import msgspec

from pki.audit.trail import Trail
from pki.auth.answers import login_reply
from pki.auth.refusals import record_refusal
from pki.auth.terms import TokenFields, described, refuse, whole
from pki.errors import Malformed, NotFound, Rejected
from pki.identity.approles import Approles, Ending, NewSecretId, Role, RoleTerms, SecretId
from pki.identity.tokens import Made, Tokens
from pki.operations.call import Call, Reply, keys, when
from pki.operations.declare import Engine, NoBody, Verb, operation
from pki.operations.wire import Pairs, Span, Words
from pki.storage.database import Tx

_UNSUPPORTED = MappingProxyType(
    {
        "local_secret_ids": "leave it out: replicas share one database",
        "enable_local_secret_ids": "leave it out: replicas share one database",
        "bound_cidr_list": "send secret_id_bound_cidrs",
    }
)
_UNBOUND_TOKENS = {"token_bound_cidrs": "send cidr_list, which bounds logins: tokens are not bound to networks yet"}
_ENDLESS = "this secret-id never expires: set secret_id_ttl on the role, or send ttl"
_DISPLAY_NAME = "approle"


class RoleRequest(TokenFields, frozen=True):
    """A role: what is not sent stays as it is."""

    bind_secret_id: bool | None = None
    role_id: str | None = None
    secret_id_bound_cidrs: Words | None = None
    secret_id_num_uses: int | None = None
    secret_id_ttl: Span | None = None
    local_secret_ids: bool | None = None
    enable_local_secret_ids: bool | None = None
    bound_cidr_list: Words | None = None

    def refuse_unsupported(self) -> None:
        """Refuse by its name what is asked for and not there.

        Raises:
            Malformed: always names the member.
        """
        super().refuse_unsupported()
        refuse(self, _UNSUPPORTED)
        if self.bind_secret_id is False:
            raise Malformed(
                "bind_secret_id false is not supported", advice="a role-id alone is no secret: leave it out"
            )

    def applied(self, terms: RoleTerms) -> RoleTerms:
        """Return `terms` with what was sent in place of what there was."""
        sent = {
            "token": self.changed(terms.token),
            "networks": None if self.secret_id_bound_cidrs is None else tuple(self.secret_id_bound_cidrs),
            "secret_id_ttl": whole(self.secret_id_ttl),
            "secret_id_uses": self.secret_id_num_uses,
        }
        return msgspec.structs.replace(terms, **{name: value for name, value in sent.items() if value is not None})


class RoleIdRequest(msgspec.Struct, frozen=True):
    """Another role-id for a role."""

    role_id: str | None = None


class SecretIdRequest(msgspec.Struct, frozen=True):
    """A secret-id to be made: what is not sent is as the role says."""

    metadata: Pairs | None = None
    cidr_list: Words | None = None
    token_bound_cidrs: Words | None = None
    num_uses: int | None = None
    ttl: Span | None = None

    def wanted(self, secret: str | None = None) -> NewSecretId:
        """Return what is to be made."""
        return NewSecretId(self.metadata or {}, tuple(self.cidr_list or ()), whole(self.ttl), self.num_uses, secret)


class CustomSecretIdRequest(SecretIdRequest, frozen=True):
    """A secret-id that the caller chose."""

    secret_id: str | None = None


class GivenSecretId(msgspec.Struct, frozen=True):
    """A secret-id that something is asked of."""

    secret_id: str | None = None


class GivenAccessor(msgspec.Struct, frozen=True):
    """The accessor of a secret-id that something is asked of."""

    secret_id_accessor: str | None = None


class LoginRequest(msgspec.Struct, frozen=True):
    """What a machine logs in with."""

    role_id: str | None = None
    secret_id: str | None = None


class ApproleEngine(Engine):
    """Logs machines in by a role-id and a secret-id."""

    type: ClassVar[str] = "approle"
    kind: ClassVar[str] = "auth"

    def __init__(self, approles: Approles, tokens: Tokens, trail: Trail) -> None:
        self._approles = approles
        self._tokens = tokens
        self._trail = trail

    # Roles

    def has_role(self, call: Call, body: RoleRequest, role: str) -> bool:
        """Tell whether a write changes a role that there is."""
        del body
        return self._approles.find(call.mount, role) is not None

    @operation(Verb.LIST, "role")
    def list_roles(self, call: Call, body: NoBody) -> Reply:
        """List the roles."""
        del body
        return keys(self._approles.names(call.mount))

    @operation(Verb.READ, "role/<name:role>")
    def read_role(self, call: Call, body: NoBody, role: str) -> Reply:
        """Read a role."""
        del body
        return Reply(_described(self._approles.get(call.mount, role)))

    @operation(Verb.UPDATE, "role/<name:role>", RoleRequest, exists=has_role)
    def write_role(self, call: Call, body: RoleRequest, role: str) -> None:
        """Make a role, or change one."""
        body.refuse_unsupported()

        def work(tx: Tx) -> None:
            made = self._approles.set(tx, call.mount, role, body.applied, body.role_id or None)
            call.record(tx, **msgspec.to_builtins(made.terms), role_id=made.role_id)

        self._approles.write(work)

    @operation(Verb.DELETE, "role/<name:role>")
    def delete_role(self, call: Call, body: NoBody, role: str) -> None:
        """Delete a role with its secret-ids; tokens made by it live on until they expire or are revoked."""
        del body

        def work(tx: Tx) -> None:
            call.record(tx, deleted=self._approles.delete(tx, call.mount, role))

        self._approles.write(work)

    @operation(Verb.READ, "role/<name:role>/role-id")
    def read_role_id(self, call: Call, body: NoBody, role: str) -> Reply:
        """Read a role's role-id."""
        del body
        return Reply({"role_id": self._approles.get(call.mount, role).role_id})

    @operation(Verb.UPDATE, "role/<name:role>/role-id", RoleIdRequest)
    def write_role_id(self, call: Call, body: RoleIdRequest, role: str) -> None:
        """Give a role another role-id: the old one lets nobody in any more."""
        role_id = _needed(body.role_id, "role_id")

        def work(tx: Tx) -> None:
            call.record(tx, role_id=self._approles.set_role_id(tx, call.mount, role, role_id).role_id)

        self._approles.write(work)

    # Secret-ids

    @operation(Verb.UPDATE, "role/<name:role>/secret-id", SecretIdRequest)
    def create_secret_id(self, call: Call, body: SecretIdRequest, role: str) -> Reply:
        """Make a random secret-id, which is told this once."""
        return self._create_secret_id(call, body, role, body.wanted())

    @operation(Verb.UPDATE, "role/<name:role>/custom-secret-id", CustomSecretIdRequest)
    def create_custom_secret_id(self, call: Call, body: CustomSecretIdRequest, role: str) -> Reply:
        """Make a secret-id of the caller's choice."""
        return self._create_secret_id(call, body, role, body.wanted(_needed(body.secret_id, "secret_id")))

    def _create_secret_id(self, call: Call, body: SecretIdRequest, role: str, new: NewSecretId) -> Reply:
        refuse(body, _UNBOUND_TOKENS)

        def work(tx: Tx) -> tuple[str, SecretId]:
            secret, made = self._approles.add_secret_id(tx, call.mount, role, new)
            call.record(tx, accessor=made.accessor, ttl=made.ttl, num_uses=made.uses_left, networks=made.networks)
            return secret, made

        secret, made = self._approles.write(work)
        data = {
            "secret_id": secret,
            "secret_id_accessor": made.accessor,
            "secret_id_num_uses": made.uses_left,
            "secret_id_ttl": made.ttl,
        }
        return Reply(data, warnings=() if made.ttl else (_ENDLESS,))

    @operation(Verb.LIST, "role/<name:role>/secret-id")
    def list_secret_ids(self, call: Call, body: NoBody, role: str) -> Reply:
        """List the accessors of a role's secret-ids that are live."""
        del body
        self._approles.get(call.mount, role)
        return keys(self._approles.accessors(call.mount, role))

    @operation(Verb.UPDATE, "role/<name:role>/secret-id/lookup", GivenSecretId)
    def lookup_secret_id(self, call: Call, body: GivenSecretId, role: str) -> Reply | None:
        """Tell what a secret-id is; nothing is said of one that there is not."""
        secret = _needed(body.secret_id, "secret_id")
        self._approles.get(call.mount, role)
        found = self._approles.find_secret_id(call.mount, role, secret=secret)
        return None if found is None else Reply(_told(found))

    @operation(Verb.UPDATE, "role/<name:role>/secret-id/destroy", GivenSecretId)
    @operation(Verb.DELETE, "role/<name:role>/secret-id/destroy", GivenSecretId)
    def destroy_secret_id(self, call: Call, body: GivenSecretId, role: str) -> None:
        """Destroy a secret-id: it lets nobody in any more; it is no error that there is none."""
        secret = _needed(body.secret_id, "secret_id")
        self._approles.get(call.mount, role)

        def work(tx: Tx) -> None:
            call.record(tx, accessor=self._approles.destroy_secret_id(tx, call.mount, role, secret=secret))

        self._approles.write(work)

    @operation(Verb.UPDATE, "role/<name:role>/secret-id-accessor/lookup", GivenAccessor)
    def lookup_accessor(self, call: Call, body: GivenAccessor, role: str) -> Reply:
        """Tell what the secret-id of an accessor is; the secret-id itself is not told."""
        accessor = _needed(body.secret_id_accessor, "secret_id_accessor")
        found = self._approles.find_secret_id(call.mount, role, accessor=accessor)
        if found is None:
            raise _no_accessor(accessor)
        return Reply(_told(found))

    @operation(Verb.UPDATE, "role/<name:role>/secret-id-accessor/destroy", GivenAccessor)
    @operation(Verb.DELETE, "role/<name:role>/secret-id-accessor/destroy", GivenAccessor)
    def destroy_accessor(self, call: Call, body: GivenAccessor, role: str) -> None:
        """Destroy the secret-id of an accessor: it lets nobody in any more."""
        accessor = _needed(body.secret_id_accessor, "secret_id_accessor")

        def work(tx: Tx) -> None:
            if self._approles.destroy_secret_id(tx, call.mount, role, accessor=accessor) is None:
                raise _no_accessor(accessor)
            call.record(tx, accessor=accessor)

        self._approles.write(work)

    @operation(Verb.UPDATE, "tidy/secret-id")
    def tidy_secret_ids(self, call: Call, body: NoBody) -> Reply:
        """Delete the mount's secret-ids that have expired; they let nobody in anyway."""
        del body

        def work(tx: Tx) -> int:
            count = self._approles.delete_expired(tx, call.mount)
            call.record(tx, count=count)
            return count

        return Reply(warnings=(f"expired and deleted: {self._approles.write(work)}",), accepted=True)

    # Log in

    @operation(Verb.UPDATE, "login", LoginRequest, open=True)
    def login(self, call: Call, body: LoginRequest) -> Reply:
        """Log in: a token for a role-id and a secret-id.

        Whatever is wrong, the answer is the same; the address is that of the connection, and no header is asked.
        """
        role_id, secret = _needed(body.role_id, "role_id"), _needed(body.secret_id, "secret_id")

        def work(tx: Tx) -> Made | None:  # a failure returns: raised here, it would break up a group of writes
            judgement = self._approles.login(tx, call.mount, role_id, secret, call.remote)
            facts = {"secret_id_accessor": judgement.accessor} if judgement.accessor else {}
            if judgement.role is None or judgement.ending != Ending.RIGHT:
                about = call.path if judgement.role is None else f"{call.mount.path}role/{judgement.role.name}"
                record_refusal(self._trail, tx, call, about, reason=judgement.ending, **facts)
                return None
            new = judgement.role.terms.token.token(_DISPLAY_NAME, call.path, judgement.metadata)
            made = self._tokens.add(tx, new)
            about = f"{call.mount.path}role/{judgement.role.name}"
            call.record(
                tx, about=about, accessor=made.accessor, policies=made.policies, lifetime=made.lifetime, **facts
            )
            return made

        made = self._approles.write(work)
        if made is None:
            raise Rejected(
                "invalid role or secret ID", "badLogin", advice="it may be wrong, expired, used up, or bound"
            )
        return login_reply(made)


def _needed(value: str | None, name: str) -> str:
    if not value:
        raise Malformed(f"missing {name}", advice=f"send `{name}`")
    return value


def _no_accessor(accessor: str) -> NotFound:
    return NotFound(f"failed to find accessor entry for secret_id_accessor: {accessor[:64]!a}", advice="LIST secret-id")


def _described(role: Role) -> dict[str, Any]:
    return {
        "bind_secret_id": True,
        "local_secret_ids": False,
        "secret_id_bound_cidrs": role.terms.networks or None,
        "secret_id_num_uses": role.terms.secret_id_uses,
        "secret_id_ttl": role.terms.secret_id_ttl,
        **described(role.terms.token),
    }


def _told(found: SecretId) -> dict[str, Any]:
    return {
        "cidr_list": found.networks,
        "creation_time": when(found.created_at),
        "expiration_time": when(found.expires_at) or "0001-01-01T00:00:00Z",
        "last_updated_time": when(found.created_at),
        "metadata": found.metadata,
        "secret_id_accessor": found.accessor,
        "secret_id_num_uses": found.uses_left,
        "secret_id_ttl": found.ttl,
        "token_bound_cidrs": [],
    }
