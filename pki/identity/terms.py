"""What a login's token is to be like, as a role or a user has it."""

from collections.abc import Mapping
from datetime import timedelta

import msgspec

from pki.errors import Malformed
from pki.identity.records import NewToken
from pki.policy.document import check_name

USES_LIMIT = 1_000_000
_POLICIES_LIMIT = 64


class TokenTerms(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """Spans are whole seconds; 0 is "not said", and of `num_uses` any number."""

    policies: tuple[str, ...] = ()
    ttl: int = 0
    max_ttl: int = 0
    explicit_max_ttl: int = 0
    num_uses: int = 0
    default_policy: bool = True

    def check(self) -> None:
        """Refuse what no token can be made by.

        Raises:
            Malformed: a policy's name is not canonical or is root (P2), or a span or number is out of bounds.
        """
        if len(self.policies) > _POLICIES_LIMIT:
            raise Malformed(f"token_policies names up to {_POLICIES_LIMIT} policies")
        for name in self.policies:
            check_name(name)
        if self.end and self.ttl > self.end:
            raise Malformed("token_ttl is longer than token_max_ttl", advice="raise the maximum, or lower token_ttl")
        if not 0 <= self.num_uses <= USES_LIMIT:
            raise Malformed(f"token_num_uses is from 0, for any number, to {USES_LIMIT}")

    @property
    def end(self) -> int:
        """The age in seconds that no renewal passes: the lower of the two maxima; 0 where none is said."""
        return min((span for span in (self.max_ttl, self.explicit_max_ttl) if span), default=0)

    def token(self, display_name: str, path: str, metadata: Mapping[str, str]) -> NewToken:
        """Return the token that a login by these terms makes: an orphan, an hour long unless `ttl` is said."""
        return NewToken(
            display_name=display_name,
            policies=self.policies,
            lifetime=timedelta(seconds=self.ttl) if self.ttl else None,
            path=path,
            metadata=metadata,
            max_lifetime=timedelta(seconds=self.end) if self.end else None,
            uses=self.num_uses or None,
            default_policy=self.default_policy,
        )
