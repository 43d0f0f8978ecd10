"""Who sends a request: its URL, signature and nonce are checked, and its account is found (RFC 8555 6.2 to 6.5)."""

import enum
from dataclasses import dataclass
from typing import Any

from acme_server import store
from acme_server.account_keys import AccountKey, load_jwk
from acme_server.accounts import require_valid
from acme_server.door import Door
from acme_server.jws import Message, parse, parse_payload, verify
from acme_server.problems import Problem, ProblemType, malformed
from acme_server.records import Account


class Signer(enum.Enum):
    """Who may sign a request: an account (kid), a key that the request brings (jwk), or either."""

    ACCOUNT = enum.auto()
    KEY = enum.auto()
    EITHER = enum.auto()


@dataclass(frozen=True, slots=True)
class Signed:
    """A request that is what it claims to be. `account` is the signer's, None where a bare key signed."""

    profile: str
    message: Message
    key: AccountKey
    account: Account | None

    @property
    def owner(self) -> Account:
        """The account that signed."""
        if self.account is None:
            raise AssertionError("only requests that an account must sign ask for their owner")
        return self.account

    @property
    def is_read(self) -> bool:
        """Whether this is POST-as-GET (RFC 8555 6.3)."""
        return self.message.is_post_as_get

    def payload(self) -> dict[str, Any]:
        """Return the payload; Problem (malformed) when it is no JSON object."""
        return parse_payload(self.message)

    def require_read(self) -> None:
        """Refuse a payload where there is nothing to say (RFC 8555 6.3).

        Raises:
            Problem: malformed.
        """
        if not self.is_read:
            raise malformed("this resource is only read: send an empty payload (POST-as-GET)")


def _require_signer(message: Message, signer: Signer) -> None:
    if signer is Signer.ACCOUNT and message.kid is None:
        raise malformed("this resource takes requests with a kid, the account's URL, and no jwk (RFC 8555 6.2)")
    if signer is Signer.KEY and message.jwk is None:
        raise malformed("this resource takes requests with a jwk and no kid (RFC 8555 6.2)")


def _find_signer(door: Door, profile: str, message: Message) -> tuple[AccountKey, Account | None]:
    if message.kid is None:
        return load_jwk(message.jwk or {}), None
    account_id = door.links(profile).account_id(message.kid)
    account = store.find_account(door.database, profile, account_id=account_id)
    if account is None:
        raise Problem(ProblemType.ACCOUNT_DOES_NOT_EXIST, "there is no such account; create one first")
    return door.known_keys.get(account.jwk), account


def authenticate(door: Door, profile: str, body: bytes, url: str, signer: Signer = Signer.ACCOUNT) -> Signed:
    """Return the request in `body`, which was sent to `url`, after every check but those of its payload.

    The nonce is spent only for a good signature: nobody else can make a client's nonces useless.

    Raises:
        Problem: malformed, unauthorized (another URL; a deactivated account), accountDoesNotExist, badPublicKey,
            badSignatureAlgorithm, badNonce.
    """
    message = parse(body)
    if message.url != url:
        raise Problem(ProblemType.UNAUTHORIZED, f"the request is signed for another URL than {url} (RFC 8555 6.4)")
    _require_signer(message, signer)
    key, account = _find_signer(door, profile, message)
    verify(message, key.public_key)
    door.nonces.check(message.nonce)
    if account is not None:
        require_valid(account)
    return Signed(profile, message, key, account)
