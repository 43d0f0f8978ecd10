"""Auth method token: what is done with client tokens themselves, as the Vault HTTP API has it below auth/token/."""

from collections.abc import Callable
from dataclasses import replace
from typing import ClassVar

import msgspec

from pki.auth.answers import login_reply
from pki.clock import Clock
from pki.errors import Denied, Malformed, NotFound, Rejected
from pki.identity.principals import Principal
from pki.identity.tokens import Made, NewToken, Token, Tokens
from pki.operations.call import Call, Reply, keys, when
from pki.operations.declare import Engine, NoBody, Verb, operation
from pki.operations.wire import Pairs, Span, Words
from pki.policy.builtin import DEFAULT_NAME
from pki.policy.document import ROOT
from pki.policy.store import Policies
from pki.storage.database import Database, Tx

SERVICE_TYPES = frozenset({"", "service"})
_UNKNOWN_ACCESSOR = "No token found with this accessor"
_USES_LIMIT = 1_000_000


class CreateRequest(msgspec.Struct, frozen=True):
    """A token to be made. What is not supported stands here so that it is refused, and not left out in silence."""

    policies: Words | None = None
    meta: Pairs | None = None
    ttl: Span | None = None
    explicit_max_ttl: Span | None = None
    renewable: bool | None = None
    num_uses: int | None = None
    display_name: str | None = None
    no_parent: bool | None = None
    no_default_policy: bool | None = None
    type: str | None = None
    id: str | None = None
    lease: Span | None = None
    period: Span | None = None
    entity_alias: str | None = None

    def refuse_unsupported(self) -> None:
        """Refuse by its name what is asked for and not there.

        Raises:
            Malformed: always names the member.
        """
        if (self.type or "") not in SERVICE_TYPES:
            raise Malformed(f"tokens of type {self.type!a} are not supported", advice="leave type out, or send service")
        if self.id:
            raise Malformed("a token's id cannot be chosen", advice="leave id out: tokens are random")
        if self.period:
            raise Malformed("periodic tokens are not supported", advice="send ttl, and log in again when it has ended")
        if self.lease:
            raise Malformed("lease is not supported", advice="send ttl")
        if self.entity_alias:
            raise Malformed("entity_alias is not supported", advice="leave it out")
        if not 0 <= (self.num_uses or 0) <= _USES_LIMIT:
            raise Malformed(f"num_uses is from 0, for any number, to {_USES_LIMIT}")


class TokenRequest(msgspec.Struct, frozen=True):
    """A token that something is asked of."""

    token: str | None = None


class AccessorRequest(msgspec.Struct, frozen=True):
    """The accessor of a token that something is asked of."""

    accessor: str | None = None


class RenewSelfRequest(msgspec.Struct, frozen=True):
    """How long one's own token is to live from now on."""

    increment: Span | None = None


class RenewRequest(TokenRequest, frozen=True):
    """How long a token is to live from now on."""

    increment: Span | None = None


class RenewAccessorRequest(AccessorRequest, frozen=True):
    """How long the token of an accessor is to live from now on."""

    increment: Span | None = None


class TokenEngine(Engine):
    """Makes, looks up, renews and revokes client tokens."""

    type: ClassVar[str] = "token"
    kind: ClassVar[str] = "auth"

    def __init__(self, database: Database, clock: Clock, tokens: Tokens, policies: Policies) -> None:
        self._database = database
        self._clock = clock
        self._tokens = tokens
        self._policies = policies

    # Make

    @operation(Verb.UPDATE, "create", CreateRequest)
    def create(self, call: Call, body: CreateRequest) -> Reply:
        """Make a token that lives no longer than the caller's, and may do no more."""
        return self._create(call, body, orphan=bool(body.no_parent))

    @operation(Verb.UPDATE, "create-orphan", CreateRequest, sudo=True)
    def create_orphan(self, call: Call, body: CreateRequest) -> Reply:
        """Make a token that outlives the caller's."""
        return self._create(call, body, orphan=True)

    def _create(self, call: Call, body: CreateRequest, *, orphan: bool) -> Reply:
        body.refuse_unsupported()
        caller = call.caller()

        def work(tx: Tx) -> Made:
            made = self._tokens.add(tx, self._wanted(call, body, caller, orphan=orphan))
            call.record(
                tx,
                accessor=made.accessor,
                display_name=made.display_name,
                policies=made.policies,
                lifetime=made.lifetime,
                orphan=orphan,
            )
            return made

        return login_reply(self._database.write(work))

    def _wanted(self, call: Call, body: CreateRequest, caller: Principal, *, orphan: bool) -> NewToken:
        """Return what is to be made, which gives nobody more than the caller has, unless he has sudo here (P6)."""
        is_privileged = self._policies.acl(caller.policies).decide(call.path, Verb.UPDATE, sudo=True).allowed
        if orphan and not is_privileged:
            raise Denied(
                "permission denied", advice=f"a token without a parent needs the capability sudo on {call.path}"
            )
        policies = body.policies or caller.policies
        if ROOT.name in policies:
            raise Rejected(
                "no token is made with the policy root", "rootPolicy", advice="name other policies in `policies`"
            )
        if not is_privileged and not set(policies) <= set(caller.policies):
            raise Denied("child policies must be subset of parent", advice="name policies that your own token has")
        return NewToken(
            display_name=f"token-{body.display_name}" if body.display_name else "token",
            policies=policies,
            lifetime=body.ttl or None,
            path=call.path,
            metadata=body.meta or {},
            renewable=body.renewable is not False,
            max_lifetime=body.explicit_max_ttl or None,
            uses=body.num_uses or None,
            parent=None if orphan else caller.accessor,
            default_policy=not body.no_default_policy and (is_privileged or DEFAULT_NAME in caller.policies),
        )

    @operation(Verb.UPDATE, "create/<name:role>")
    @operation(Verb.LIST, "roles")
    @operation(Verb.READ, "roles/<name:role>")
    @operation(Verb.UPDATE, "roles/<name:role>")
    @operation(Verb.DELETE, "roles/<name:role>")
    def roles(self, call: Call, body: NoBody, role: str = "") -> None:  # noqa: ARG002 - it refuses whatever it is
        """Refuse token roles, which are not supported."""
        raise Malformed("token roles are not supported", advice="name the policies in auth/token/create")

    # Look up

    @operation(Verb.READ, "lookup-self")
    @operation(Verb.UPDATE, "lookup-self")
    def lookup_self(self, call: Call, body: NoBody) -> Reply:  # noqa: ARG002 - every operation takes a body
        """Tell what one's own token is."""
        return self._tell(self._tokens.lookup(call.caller().accessor, spent=True), call.client_token or "")

    @operation(Verb.UPDATE, "lookup", TokenRequest)
    def lookup(self, call: Call, body: TokenRequest) -> Reply:
        """Tell what a token is, one's own unless another is sent."""
        if not body.token:
            return self.lookup_self(call, NoBody())
        return self._tell(self._given(body.token), body.token)

    @operation(Verb.UPDATE, "lookup-accessor", AccessorRequest)
    def lookup_accessor(self, call: Call, body: AccessorRequest) -> Reply:  # noqa: ARG002 - every operation takes a call
        """Tell what the token of an accessor is; the token itself is not told."""
        return self._tell(self._named(body), "")

    @operation(Verb.LIST, "accessors", sudo=True)
    def accessors(self, call: Call, body: NoBody) -> Reply:  # noqa: ARG002 - every operation takes both
        """List the accessors of all tokens that live."""
        return keys(self._tokens.accessors())

    def _tell(self, token: Token, id: str) -> Reply:  # noqa: A002 - the wire's name
        made, ends = token.created_at, token.max_expires_at
        return Reply(
            {
                "accessor": token.accessor,
                "creation_time": int(made.timestamp()),
                "creation_ttl": 0 if token.lifetime is None else int(token.lifetime.total_seconds()),
                "display_name": token.display_name,
                "entity_id": "",
                "expire_time": when(token.expires_at),
                "explicit_max_ttl": 0 if ends is None else int((ends - made).total_seconds()),
                "id": id,
                "issue_time": when(made),
                "meta": token.metadata or None,
                "num_uses": token.uses_left or 0,
                "orphan": token.parent is None,
                "path": token.path,
                "policies": token.policies,
                "renewable": token.renewable,
                "ttl": token.seconds_left(self._clock.now()),
                "type": "service",
            }
        )

    # Renew

    @operation(Verb.UPDATE, "renew-self", RenewSelfRequest)
    def renew_self(self, call: Call, body: RenewSelfRequest) -> Reply:
        """Let one's own token live longer."""
        return self._renew(call, call.caller().accessor, body.increment, call.client_token or "")

    @operation(Verb.UPDATE, "renew", RenewRequest)
    def renew(self, call: Call, body: RenewRequest) -> Reply:
        """Let a token live longer."""
        if not body.token:
            raise Malformed("missing token ID", advice="send `token`, or use renew-self")
        return self._renew(call, self._given(body.token).accessor, body.increment, body.token)

    @operation(Verb.UPDATE, "renew-accessor", RenewAccessorRequest)
    def renew_accessor(self, call: Call, body: RenewAccessorRequest) -> Reply:
        """Let the token of an accessor live longer."""
        return self._renew(call, self._named(body).accessor, body.increment, "")

    def _renew(self, call: Call, accessor: str, increment: Span | None, token: str) -> Reply:
        def work(tx: Tx) -> Made:
            made = self._tokens.renew(tx, accessor, increment or None)
            call.record(tx, accessor=accessor, lifetime=made.lifetime)
            return made

        return login_reply(replace(self._database.write(work), token=token))

    # Revoke

    @operation(Verb.UPDATE, "revoke-self")
    def revoke_self(self, call: Call, body: NoBody) -> None:  # noqa: ARG002 - every operation takes a body
        """Revoke one's own token, and all below it."""
        self._revoke(call, call.caller().accessor, self._tokens.revoke)

    @operation(Verb.UPDATE, "revoke", TokenRequest)
    def revoke(self, call: Call, body: TokenRequest) -> None:
        """Revoke a token, and all below it; one that is dead already is no error."""
        self._revoke(call, self._accessor_of(body), self._tokens.revoke)

    @operation(Verb.UPDATE, "revoke-orphan", TokenRequest, sudo=True)
    def revoke_orphan(self, call: Call, body: TokenRequest) -> None:
        """Revoke a token alone: those below it live on without a parent."""
        self._revoke(call, self._accessor_of(body), self._tokens.revoke_orphan)

    @operation(Verb.UPDATE, "revoke-accessor", AccessorRequest)
    def revoke_accessor(self, call: Call, body: AccessorRequest) -> Reply | None:
        """Revoke the token of an accessor, and all below it; one that is dead already is no error."""
        count = self._revoke(call, _accessor(body), self._tokens.revoke)
        return None if count else Reply(warnings=[_UNKNOWN_ACCESSOR])

    def _revoke(self, call: Call, accessor: str, act: Callable[[Tx, str], int]) -> int:
        def work(tx: Tx) -> int:
            count = act(tx, accessor)
            known = {"accessor": accessor} if count else {}  # else it may be anything, even a token sent by mistake
            call.record(tx, count=count, **known)
            return count

        return self._database.write(work) if accessor else 0

    # Whom a request is about

    def _given(self, token: str) -> Token:
        try:
            return self._tokens.lookup_token(token)
        except NotFound:
            raise Denied("bad token", advice="it has expired, was revoked, or never was one") from None

    def _named(self, body: AccessorRequest) -> Token:
        try:
            return self._tokens.lookup(_accessor(body))
        except NotFound:
            raise Malformed("invalid accessor", advice="its token has expired, was revoked, or never was") from None

    def _accessor_of(self, body: TokenRequest) -> str:
        """Return the accessor of a token that was sent, "" of one that does not live."""
        if not body.token:
            raise Malformed("missing token ID", advice="send `token`, or use revoke-self")
        try:
            return self._tokens.lookup_token(body.token).accessor
        except NotFound:
            return ""


def _accessor(body: AccessorRequest) -> str:
    if not body.accessor:
        raise Malformed("missing accessor", advice="send `accessor`")
    return body.accessor
