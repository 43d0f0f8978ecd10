"""The URLs of the ACME door, all made from the configuration: the Host header of a request is never asked."""

import re
from collections.abc import Mapping
from dataclasses import dataclass
from types import MappingProxyType

from acme_server.problems import Problem, ProblemType
from acme_server.validation import VALIDATORS

PREFIX = "/acme/"
PROFILE_PATTERN = "[A-Za-z0-9][A-Za-z0-9._-]{0,63}"
ID_PATTERN = "[a-z2-7]{26}"
PATTERNS: Mapping[str, str] = MappingProxyType(
    {"id": ID_PATTERN, "profile": PROFILE_PATTERN, "challenge": "|".join(VALIDATORS)}
)
"""What the parts of a path look like: ids as `Ids.new` makes them, names of profiles, types of challenges."""

_ID = re.compile(ID_PATTERN)


def is_id(text: str) -> bool:
    """Tell whether `text` has the form of an id (`pki.ids`)."""
    return _ID.fullmatch(text) is not None


@dataclass(frozen=True, slots=True)
class Links:
    """The URLs of one profile's directory (RFC 8555 7.1). `base_url` has no slash at its end."""

    base_url: str
    profile: str

    def _url(self, *parts: str) -> str:
        return "/".join((self.base_url, "acme", self.profile, *parts))

    @property
    def directory(self) -> str:
        """The directory (RFC 8555 7.1.1)."""
        return self._url("directory")

    @property
    def new_nonce(self) -> str:
        """Where nonces are had (RFC 8555 7.2)."""
        return self._url("new-nonce")

    @property
    def new_account(self) -> str:
        """Where accounts are made (RFC 8555 7.3)."""
        return self._url("new-account")

    @property
    def new_order(self) -> str:
        """Where orders are made (RFC 8555 7.4)."""
        return self._url("new-order")

    @property
    def revoke_cert(self) -> str:
        """Where certificates are revoked (RFC 8555 7.6)."""
        return self._url("revoke-cert")

    @property
    def key_change(self) -> str:
        """Where an account changes its key (RFC 8555 7.3.5)."""
        return self._url("key-change")

    def account(self, account_id: str) -> str:
        """Return an account's URL, which is also the `kid` of its requests."""
        return self._url("account", account_id)

    def orders(self, account_id: str) -> str:
        """Return the URL of an account's list of orders (RFC 8555 7.1.2.1)."""
        return self._url("account", account_id, "orders")

    def order(self, order_id: str) -> str:
        """Return an order's URL."""
        return self._url("order", order_id)

    def finalize(self, order_id: str) -> str:
        """Return the URL to which an order's CSR is sent."""
        return self._url("order", order_id, "finalize")

    def authorization(self, authorization_id: str) -> str:
        """Return an authorization's URL."""
        return self._url("authorization", authorization_id)

    def challenge(self, authorization_id: str, challenge_type: str) -> str:
        """Return the URL of an authorization's challenge of that type."""
        return self._url("challenge", authorization_id, challenge_type)

    def certificate(self, certificate_id: str) -> str:
        """Return a certificate's URL."""
        return self._url("certificate", certificate_id)

    def account_id(self, kid: str) -> str:
        """Return the id in an account's URL: the inverse of `account`.

        Raises:
            Problem: accountDoesNotExist: it is not the URL of an account in this directory.
        """
        prefix = self.account("")
        account_id = kid.removeprefix(prefix)
        if not kid.startswith(prefix) or not is_id(account_id):
            raise Problem(ProblemType.ACCOUNT_DOES_NOT_EXIST, "the kid is not the URL of an account in this directory")
        return account_id
