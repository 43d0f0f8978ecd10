"""The resources of a directory, each a function of a request (RFC 8555 7.1)."""

from collections.abc import Mapping, Sequence
from http import HTTPStatus

import orjson

from acme_server import accounts, authorizations, challenges, key_change, orders, revocation
from acme_server.answers import View
from acme_server.authentication import Signed, Signer, authenticate
from acme_server.authorizations import challenge_document, is_processing
from acme_server.door import Door
from acme_server.links import is_id
from acme_server.orders import OrderView
from acme_server.problems import Problem, ProblemType, malformed
from acme_server.records import Account, Authorization
from acme_server.wire import Answer, Request

_JOSE = "application/jose+json"
_PEM_CHAIN = "application/pem-certificate-chain"
_POLL = ("Retry-After", "1")
"""Sent while something is under way: without it some clients wait for several seconds."""


def json_answer(document: object, *headers: tuple[str, str], status: int = HTTPStatus.OK) -> Answer:
    """Return an answer with a JSON body."""
    return Answer(status, orjson.dumps(document), "application/json", list(headers))


class Views:
    """The functions behind the URLs; what they return lacks the headers that all answers have."""

    def __init__(self, door: Door) -> None:
        self._door = door

    def routes(self) -> Mapping[str, tuple[Sequence[str], View]]:
        """Return methods and function of each resource, by its path below the profile, but for those of orders."""
        read, post = ("GET", "POST"), ("POST",)
        return {
            "directory": (read, self.directory),
            "new-nonce": (read, self.new_nonce),
            "new-account": (post, self.new_account),
            "revoke-cert": (post, self.revoke_cert),
            "key-change": (post, self.key_change),
            "account/<id:account_id>": (post, self.account),
            "account/<id:account_id>/orders": (post, self.account_orders),
        }

    def order_routes(self) -> Mapping[str, View]:
        """Return the functions of the resources through which an order goes, all of which take POST alone."""
        return {
            "new-order": self.new_order,
            "order/<id:order_id>": self.order,
            "order/<id:order_id>/finalize": self.finalize,
            "authorization/<id:authorization_id>": self.authorization,
            "challenge/<id:authorization_id>/<challenge:challenge_type>": self.challenge,
            "certificate/<id:certificate_id>": self.certificate,
        }

    def _signed(self, request: Request, profile: str, signer: Signer = Signer.ACCOUNT) -> Signed:
        if request.media_type != _JOSE:
            detail = f"a request has the content type {_JOSE} (RFC 8555 6.2)"
            raise Problem(ProblemType.MALFORMED, detail, status=HTTPStatus.UNSUPPORTED_MEDIA_TYPE)
        url = f"{self._door.base_url}{request.path}{'?' if request.query else ''}{request.query}"
        return authenticate(self._door, profile, request.body(), url, signer)

    def directory(self, request: Request, profile: str) -> Answer:
        """Answer GET and POST-as-GET of the directory (RFC 8555 7.1.1, 6.3); it names only what answers."""
        if request.method == "POST":
            self._signed(request, profile).require_read()
        self._door.profile(profile)
        links = self._door.links(profile)
        terms = self._door.terms_of_service
        document = {
            "newNonce": links.new_nonce,
            "newAccount": links.new_account,
            "newOrder": links.new_order,
            "revokeCert": links.revoke_cert,
            "keyChange": links.key_change,
            "meta": {"termsOfService": terms} if terms else {},
        }
        return json_answer(document)

    def new_nonce(self, request: Request, profile: str) -> Answer:
        """Answer HEAD with 200, GET and POST-as-GET with 204 (RFC 8555 7.2, 6.3); the nonce is added to all answers."""
        if request.method == "POST":
            self._signed(request, profile).require_read()
        self._door.profile(profile)
        return Answer(HTTPStatus.OK if request.method == "HEAD" else HTTPStatus.NO_CONTENT)

    def new_account(self, request: Request, profile: str) -> Answer:
        """Make an account, or find that of the key (RFC 8555 7.3, 7.3.1)."""
        signed = self._signed(request, profile, Signer.KEY)
        account, is_new = accounts.new_account(self._door, profile, signed.key, signed.payload())
        return self._account(account, HTTPStatus.CREATED if is_new else HTTPStatus.OK)

    def account(self, request: Request, profile: str, account_id: str) -> Answer:
        """Read, update or deactivate the account that asks, and no other (RFC 8555 7.3.2, 7.3.6)."""
        signed = self._own(request, profile, account_id)
        account = signed.owner
        if not signed.is_read:
            account = accounts.update(self._door, account, signed.payload())
        return self._account(account)

    def account_orders(self, request: Request, profile: str, account_id: str) -> Answer:
        """List the account's orders, a page at a time (RFC 8555 7.1.2.1)."""
        signed = self._own(request, profile, account_id)
        signed.require_read()
        after = request.argument("cursor")
        if after and not is_id(after):
            raise malformed("the cursor is none that was given out here")
        found, cursor = orders.list_orders(self._door, signed.owner, after)
        answer = json_answer({"orders": found})
        if cursor is not None:
            url = self._door.links(profile).orders(account_id)
            answer.headers.append(("Link", f'<{url}?cursor={cursor}>;rel="next"'))
        return answer

    def key_change(self, request: Request, profile: str) -> Answer:
        """Give the account another key (RFC 8555 7.3.5)."""
        return self._account(key_change.change_key(self._door, self._signed(request, profile)))

    def _own(self, request: Request, profile: str, account_id: str) -> Signed:
        signed = self._signed(request, profile)
        if signed.owner.id != account_id:
            raise Problem(ProblemType.UNAUTHORIZED, "this is the URL of another account")
        return signed

    def _account(self, account: Account, status: int = HTTPStatus.OK) -> Answer:
        url = self._door.links(account.profile).account(account.id)
        return json_answer(accounts.document(self._door, account), ("Location", url), status=status)

    def new_order(self, request: Request, profile: str) -> Answer:
        """Make an order (RFC 8555 7.4)."""
        signed = self._signed(request, profile)
        made = orders.new_order(self._door, signed.owner, signed.payload())
        return self._order(made, HTTPStatus.CREATED)

    def order(self, request: Request, profile: str, order_id: str) -> Answer:
        """Read an order (RFC 8555 7.1.3)."""
        signed = self._signed(request, profile)
        signed.require_read()
        return self._order(orders.view(self._door, signed.owner, order_id))

    def finalize(self, request: Request, profile: str, order_id: str) -> Answer:
        """Issue an order's certificate (RFC 8555 7.4)."""
        signed = self._signed(request, profile)
        return self._order(orders.finalize(self._door, signed.owner, order_id, signed.payload()))

    def _order(self, seen: OrderView, status: int = HTTPStatus.OK) -> Answer:
        headers = [("Location", self._door.links(seen.order.profile).order(seen.order.id))]
        if seen.status == "processing":
            headers.append(_POLL)
        return json_answer(orders.document(self._door, seen), *headers, status=status)

    def authorization(self, request: Request, profile: str, authorization_id: str) -> Answer:
        """Read or deactivate an authorization (RFC 8555 7.5, 7.5.2)."""
        signed = self._signed(request, profile)
        if signed.is_read:
            found = authorizations.view(self._door, signed.owner, authorization_id)
        else:
            found = authorizations.deactivate(self._door, signed.owner, authorization_id, signed.payload())
        document = authorizations.document(self._door, found)
        return json_answer(document, *([_POLL] if is_processing(found) else []))

    def challenge(self, request: Request, profile: str, authorization_id: str, challenge_type: str) -> Answer:
        """Read a challenge, or take it up (RFC 8555 7.5.1)."""
        signed = self._signed(request, profile)
        if signed.is_read:
            found = authorizations.view(self._door, signed.owner, authorization_id)
        else:
            signed.payload()  # an object, whose members mean nothing yet
            found = challenges.respond(self._door, signed.owner, authorization_id, challenge_type)
        return self._challenge(found, challenge_type)

    def _challenge(self, authorization: Authorization, challenge_type: str) -> Answer:
        challenge = authorization.challenge(challenge_type)
        url = self._door.links(authorization.profile).authorization(authorization.id)
        headers = [("Link", f'<{url}>;rel="up"')]
        if challenge.status == "processing":
            headers.append(_POLL)
        return json_answer(challenge_document(self._door, authorization, challenge), *headers)

    def certificate(self, request: Request, profile: str, certificate_id: str) -> Answer:
        """Give a certificate and its chain (RFC 8555 7.4.2)."""
        signed = self._signed(request, profile)
        signed.require_read()
        chain = orders.certificate_chain(self._door, signed.owner, certificate_id)
        return Answer(body=chain.encode(), content_type=_PEM_CHAIN)

    def revoke_cert(self, request: Request, profile: str) -> Answer:
        """Revoke a certificate (RFC 8555 7.6)."""
        revocation.revoke(self._door, self._signed(request, profile, Signer.EITHER))
        return Answer()
