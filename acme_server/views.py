"""The resources of a directory, each a function of a request (RFC 8555 7.1)."""

from collections.abc import Callable, Mapping
from http import HTTPStatus

import orjson
from flask import request
from werkzeug.wrappers import Response

from acme_server import accounts, authorizations, challenges, key_change, orders, revocation
from acme_server.authentication import Signed, Signer, authenticate
from acme_server.authorizations import challenge_document, is_processing
from acme_server.door import Door
from acme_server.links import is_id
from acme_server.orders import OrderView
from acme_server.problems import Problem, ProblemType, malformed
from acme_server.records import Account, Authorization

_JOSE = "application/jose+json"
_PEM_CHAIN = "application/pem-certificate-chain"
_POLL = {"Retry-After": "1"}
"""Sent while something is under way: without it some clients wait for several seconds."""


def json_response(document: object, status: int = HTTPStatus.OK, headers: Mapping[str, str] | None = None) -> Response:
    """Return an answer with a JSON body."""
    return Response(orjson.dumps(document), status, headers, content_type="application/json")


class Views:
    """The functions behind the URLs; what they return lacks the headers that all answers have."""

    def __init__(self, door: Door) -> None:
        self._door = door

    def routes(self) -> tuple[tuple[str, tuple[str, ...], Callable[..., Response]], ...]:
        """Return path below the profile, methods and function of each resource."""
        read, post = ("GET", "POST"), ("POST",)
        return (
            ("directory", read, self.directory),
            ("new-nonce", read, self.new_nonce),
            ("new-account", post, self.new_account),
            ("new-order", post, self.new_order),
            ("revoke-cert", post, self.revoke_cert),
            ("key-change", post, self.key_change),
            ("account/<id:account_id>", post, self.account),
            ("account/<id:account_id>/orders", post, self.account_orders),
            ("order/<id:order_id>", post, self.order),
            ("order/<id:order_id>/finalize", post, self.finalize),
            ("authorization/<id:authorization_id>", post, self.authorization),
            ("challenge/<id:authorization_id>/<challenge:challenge_type>", post, self.challenge),
            ("certificate/<id:certificate_id>", post, self.certificate),
        )

    def _signed(self, profile: str, signer: Signer = Signer.ACCOUNT) -> Signed:
        if request.mimetype != _JOSE:
            detail = f"a request has the content type {_JOSE} (RFC 8555 6.2)"
            raise Problem(ProblemType.MALFORMED, detail, status=HTTPStatus.UNSUPPORTED_MEDIA_TYPE)
        query = request.query_string.decode("latin-1")
        url = f"{self._door.base_url}{request.path}{'?' if query else ''}{query}"
        return authenticate(self._door, profile, request.get_data(cache=False), url, signer)

    def directory(self, profile: str) -> Response:
        """Answer GET and POST-as-GET of the directory (RFC 8555 7.1.1, 6.3); it names only what answers."""
        if request.method == "POST":
            self._signed(profile).require_read()
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
        return json_response(document)

    def new_nonce(self, profile: str) -> Response:
        """Answer HEAD with 200, GET and POST-as-GET with 204 (RFC 8555 7.2, 6.3); the nonce is added to all answers."""
        if request.method == "POST":
            self._signed(profile).require_read()
        self._door.profile(profile)
        return Response(status=HTTPStatus.OK if request.method == "HEAD" else HTTPStatus.NO_CONTENT)

    def new_account(self, profile: str) -> Response:
        """Make an account, or find that of the key (RFC 8555 7.3, 7.3.1)."""
        signed = self._signed(profile, Signer.KEY)
        account, is_new = accounts.new_account(self._door, profile, signed.key, signed.payload())
        return self._account(account, HTTPStatus.CREATED if is_new else HTTPStatus.OK)

    def account(self, profile: str, account_id: str) -> Response:
        """Read, update or deactivate the account that asks, and no other (RFC 8555 7.3.2, 7.3.6)."""
        signed = self._own(profile, account_id)
        account = signed.owner
        if not signed.is_read:
            account = accounts.update(self._door, account, signed.payload())
        return self._account(account)

    def account_orders(self, profile: str, account_id: str) -> Response:
        """List the account's orders, a page at a time (RFC 8555 7.1.2.1)."""
        signed = self._own(profile, account_id)
        signed.require_read()
        after = request.args.get("cursor", "")
        if after and not is_id(after):
            raise malformed("the cursor is none that was given out here")
        found, cursor = orders.list_orders(self._door, signed.owner, after)
        response = json_response({"orders": found})
        if cursor is not None:
            url = self._door.links(profile).orders(account_id)
            response.headers.add("Link", f'<{url}?cursor={cursor}>;rel="next"')
        return response

    def key_change(self, profile: str) -> Response:
        """Give the account another key (RFC 8555 7.3.5)."""
        return self._account(key_change.change_key(self._door, self._signed(profile)))

    def _own(self, profile: str, account_id: str) -> Signed:
        signed = self._signed(profile)
        if signed.owner.id != account_id:
            raise Problem(ProblemType.UNAUTHORIZED, "this is the URL of another account")
        return signed

    def _account(self, account: Account, status: int = HTTPStatus.OK) -> Response:
        url = self._door.links(account.profile).account(account.id)
        return json_response(accounts.document(self._door, account), status, {"Location": url})

    def new_order(self, profile: str) -> Response:
        """Make an order (RFC 8555 7.4)."""
        signed = self._signed(profile)
        made = orders.new_order(self._door, signed.owner, signed.payload())
        return self._order(made, HTTPStatus.CREATED)

    def order(self, profile: str, order_id: str) -> Response:
        """Read an order (RFC 8555 7.1.3)."""
        signed = self._signed(profile)
        signed.require_read()
        return self._order(orders.view(self._door, signed.owner, order_id))

    def finalize(self, profile: str, order_id: str) -> Response:
        """Issue an order's certificate (RFC 8555 7.4)."""
        signed = self._signed(profile)
        return self._order(orders.finalize(self._door, signed.owner, order_id, signed.payload()))

    def _order(self, seen: OrderView, status: int = HTTPStatus.OK) -> Response:
        headers = {"Location": self._door.links(seen.order.profile).order(seen.order.id)}
        if seen.status == "processing":
            headers |= _POLL
        return json_response(orders.document(self._door, seen), status, headers)

    def authorization(self, profile: str, authorization_id: str) -> Response:
        """Read or deactivate an authorization (RFC 8555 7.5, 7.5.2)."""
        signed = self._signed(profile)
        if signed.is_read:
            found = authorizations.view(self._door, signed.owner, authorization_id)
        else:
            found = authorizations.deactivate(self._door, signed.owner, authorization_id, signed.payload())
        document = authorizations.document(self._door, found)
        return json_response(document, headers=_POLL if is_processing(found) else None)

    def challenge(self, profile: str, authorization_id: str, challenge_type: str) -> Response:
        """Read a challenge, or take it up (RFC 8555 7.5.1)."""
        signed = self._signed(profile)
        if signed.is_read:
            found = authorizations.view(self._door, signed.owner, authorization_id)
        else:
            signed.payload()  # an object, whose members mean nothing yet
            found = challenges.respond(self._door, signed.owner, authorization_id, challenge_type)
        return self._challenge(found, challenge_type)

    def _challenge(self, authorization: Authorization, challenge_type: str) -> Response:
        challenge = authorization.challenge(challenge_type)
        url = self._door.links(authorization.profile).authorization(authorization.id)
        headers = {"Link": f'<{url}>;rel="up"', **(_POLL if challenge.status == "processing" else {})}
        return json_response(challenge_document(self._door, authorization, challenge), headers=headers)

    def certificate(self, profile: str, certificate_id: str) -> Response:
        """Give a certificate and its chain (RFC 8555 7.4.2)."""
        signed = self._signed(profile)
        signed.require_read()
        chain = orders.certificate_chain(self._door, signed.owner, certificate_id)
        return Response(chain, content_type=_PEM_CHAIN)

    def revoke_cert(self, profile: str) -> Response:
        """Revoke a certificate (RFC 8555 7.6)."""
        revocation.revoke(self._door, self._signed(profile, Signer.EITHER))
        return Response(status=HTTPStatus.OK)
