"""ACME's objects as they are stored: accounts, orders, authorizations and their challenges.

What follows from other rows is never stored: an order is `ready` when its authorizations are valid, and `valid` when
the ledger holds its certificate.
"""

from collections.abc import Mapping
from dataclasses import dataclass, replace
from datetime import datetime
from typing import Any

from acme_server.identifiers import Identifier
from pki.errors import NotFound


@dataclass(frozen=True, slots=True)
class Account:
    """RFC 8555 7.1.2. `jwk` is the canonical public key as text, `thumbprint` its RFC 7638 digest."""

    id: str
    profile: str
    thumbprint: str
    jwk: str
    contact: tuple[str, ...]
    status: str
    terms_agreed: bool
    created_at: datetime


@dataclass(frozen=True, slots=True)
class Challenge:
    """RFC 8555 8. `error` is a problem document; `changed_at` is when it entered its present status."""

    type: str
    status: str
    changed_at: datetime | None = None
    error: Mapping[str, Any] | None = None


@dataclass(frozen=True, slots=True)
class Authorization:
    """RFC 8555 7.1.4. All its challenges share one token of 256 bits."""

    id: str
    profile: str
    account_id: str
    order_id: str
    identifier: Identifier
    wildcard: bool
    status: str
    token: str
    challenges: tuple[Challenge, ...]
    expires_at: datetime
    created_at: datetime
    version: int

    def status_at(self, now: datetime) -> str:
        """Return the status, in which a pending or valid authorization expires by itself (RFC 8555 7.1.6)."""
        return "expired" if self.status in {"pending", "valid"} and self.expires_at <= now else self.status

    def challenge(self, challenge_type: str) -> Challenge:
        """Return the challenge of that type.

        Raises:
            NotFound: this authorization does not offer it.
        """
        for challenge in self.challenges:
            if challenge.type == challenge_type:
                return challenge
        raise NotFound(f"this authorization has no {challenge_type} challenge")

    def with_challenge(self, changed: Challenge, status: str | None = None) -> "Authorization":
        """Return a copy in which `changed` replaces the challenge of its type, and `status` the status."""
        challenges = tuple(changed if item.type == changed.type else item for item in self.challenges)
        return replace(self, challenges=challenges, status=status or self.status)


@dataclass(frozen=True, slots=True)
class Order:
    """RFC 8555 7.1.3 as stored: `pending`, `processing` (it has a certificate id) or `invalid`."""

    id: str
    profile: str
    account_id: str
    identifiers: tuple[Identifier, ...]
    authorizations: tuple[str, ...]
    status: str
    error: Mapping[str, Any] | None
    certificate_id: str | None
    expires_at: datetime
    created_at: datetime
    version: int

    def status_with(self, standing: "Standing", now: datetime) -> str:
        """Return the status that the client sees (RFC 8555 7.1.6)."""
        if self.status == "processing":
            states = {"issued": "valid", "revoked": "valid", "abandoned": "invalid"}
            return states.get(standing.certificate or "", "processing")
        if self.status == "invalid" or self.expires_at <= now or standing.alive < len(self.authorizations):
            return "invalid"
        return "ready" if standing.valid == len(self.authorizations) else "pending"


@dataclass(frozen=True, slots=True)
class Standing:
    """What an order's status follows from.

    `valid` counts its authorizations that are valid, `alive` those and the ones that may yet be; `certificate` is the
    ledger's state of its certificate, if it has one.
    """

    valid: int
    alive: int
    certificate: str | None
