"""The members that say what a login's token is like: the same for every auth method."""

from collections.abc import Mapping
from types import MappingProxyType
from typing import Any

import msgspec

from pki.auth.token import SERVICE_TYPES
from pki.errors import Malformed
from pki.identity.terms import TokenTerms
from pki.operations.wire import Span, Words

_TYPES = SERVICE_TYPES | {"default", "default-service"}
_UNSUPPORTED: Mapping[str, str] = MappingProxyType(
    {
        "token_bound_cidrs": "leave it out: tokens are not bound to networks yet",
        "token_strictly_bind_ip": "leave it out: tokens are not bound to addresses yet",
        "token_period": "send token_ttl and token_max_ttl",
        "period": "send token_ttl and token_max_ttl",
        "ttl": "send token_ttl",
        "max_ttl": "send token_max_ttl",
        "bound_cidrs": "leave it out: tokens are not bound to networks yet",
    }
)


class TokenFields(msgspec.Struct, frozen=True):
    """Of a token: what is not sent stays as it is. What is not supported stands here so that it is refused."""

    token_policies: Words | None = None
    policies: Words | None = None
    token_ttl: Span | None = None
    token_max_ttl: Span | None = None
    token_explicit_max_ttl: Span | None = None
    token_num_uses: int | None = None
    token_no_default_policy: bool | None = None
    token_type: str | None = None
    token_bound_cidrs: Words | None = None
    token_strictly_bind_ip: bool | None = None
    token_period: Span | None = None
    period: Span | None = None
    ttl: Span | None = None
    max_ttl: Span | None = None
    bound_cidrs: Words | None = None

    def refuse_unsupported(self) -> None:
        """Refuse by its name what is asked for and not there.

        Raises:
            Malformed: always names the member.
        """
        refuse(self, _UNSUPPORTED)
        if (self.token_type or "") not in _TYPES:
            raise Malformed(
                f"tokens of type {(self.token_type or '')[:32]!a} are not supported", advice="send token_type service"
            )
        if self.policies is not None and self.token_policies not in {None, self.policies}:
            raise Malformed("policies and token_policies differ", advice="send token_policies alone")

    def changed(self, terms: TokenTerms) -> TokenTerms:
        """Return `terms` with what was sent in place of what there was."""
        policies = self.policies if self.token_policies is None else self.token_policies
        sent = {
            "policies": None if policies is None else tuple(sorted(set(policies))),
            "ttl": whole(self.token_ttl),
            "max_ttl": whole(self.token_max_ttl),
            "explicit_max_ttl": whole(self.token_explicit_max_ttl),
            "num_uses": self.token_num_uses,
            "default_policy": None if self.token_no_default_policy is None else not self.token_no_default_policy,
        }
        return msgspec.structs.replace(terms, **{name: value for name, value in sent.items() if value is not None})


def refuse(body: msgspec.Struct, unsupported: Mapping[str, str]) -> None:
    """Refuse a body in which one of these members, each with its advice, says anything.

    Raises:
        Malformed: always names the member.
    """
    for name, advice in unsupported.items():
        if getattr(body, name):
            raise Malformed(f"{name} is not supported", advice=advice)


def whole(span: Span | None) -> int | None:
    """Return the span in whole seconds, a part of one being one, so that what was short never becomes no end at all."""
    return None if span is None else -int(-span.total_seconds() // 1)


def described(terms: TokenTerms) -> dict[str, Any]:
    """Return the terms as they are read."""
    return {
        "token_bound_cidrs": [],
        "token_explicit_max_ttl": terms.explicit_max_ttl,
        "token_max_ttl": terms.max_ttl,
        "token_no_default_policy": not terms.default_policy,
        "token_num_uses": terms.num_uses,
        "token_period": 0,
        "token_policies": terms.policies,
        "token_strictly_bind_ip": False,
        "token_ttl": terms.ttl,
        "token_type": "default",
    }
