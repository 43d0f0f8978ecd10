"""The `acme` library, certbot's own, as a client with a key of its choice."""

import contextlib
from collections.abc import Iterator, Sequence
from typing import Any

import josepy
from acme import challenges, client, crypto_util, jws, messages, standalone
from cryptography import x509
from cryptography.hazmat.primitives import serialization
from cryptography.hazmat.primitives.asymmetric import ec

from tests.service import Service


def new_key() -> josepy.JWK:
    """Make an account key."""
    return jwk_of(ec.generate_private_key(ec.SECP256R1()))


def jwk_of(key: ec.EllipticCurvePrivateKey) -> josepy.JWK:
    """Return a certificate's key as one that signs requests."""
    return josepy.JWKEC(key=key)


class KeyChange(josepy.JSONObjectWithFields):
    """The payload of a key change (RFC 8555 7.3.5), which the library lacks."""

    account: str = josepy.field("account")
    old_key: josepy.JWK = josepy.field("oldKey")


class Inner(josepy.JSONDeSerializable):
    """A JWS of the new key within the request of the old one."""

    def __init__(self, signed: jws.JWS) -> None:
        self._signed = signed

    def to_partial_json(self) -> Any:
        """Return it in the flattened form."""
        return self._signed.to_partial_json()

    @classmethod
    def from_json(cls, jobj: Any) -> "Inner":
        """Read it back."""
        return cls(jws.JWS.from_json(jobj))


class Library:
    """A client of the service's default directory."""

    def __init__(self, service: Service, key: josepy.JWK) -> None:
        self._service = service
        algorithm = josepy.ES256 if isinstance(key, josepy.JWKEC) else josepy.RS256
        self._net = client.ClientNetwork(key, alg=algorithm, verify_ssl=str(service.ca_file), timeout=20)
        directory = client.ClientV2.get_directory(service.directory, self._net)
        self.acme = client.ClientV2(directory, self._net)

    @property
    def key(self) -> josepy.JWK:
        """The account key."""
        return self._net.key

    @property
    def account_url(self) -> str:
        """The URL of the account that acts."""
        return self._net.account.uri

    def use_account(self, url: str) -> None:
        """Act as the account at `url`."""
        self._net.account = messages.RegistrationResource(uri=url, body=messages.Registration())

    def account(self) -> messages.Registration:
        """Return the account as the server has it."""
        return self.acme.query_registration(self._net.account).body

    def register(self, email: str | None = None) -> str:
        """Make an account; return its URL."""
        new = messages.NewRegistration.from_data(email=email, terms_of_service_agreed=True)
        return self.acme.new_account(new).uri

    def update_contact(self, contact: tuple[str, ...]) -> None:
        """Give the account these contacts in place of the ones it has."""
        self.acme.update_registration(self._net.account, messages.Registration(contact=contact))

    def deactivate(self) -> messages.Registration:
        """Deactivate the account; return what is left of it."""
        return self.acme.deactivate_registration(self._net.account).body

    def change_key(self, new: josepy.JWK) -> None:
        """Ask, as the present key, that the new one take its place, and go on with that."""
        url = self.acme.directory["keyChange"]
        wish = KeyChange(account=self._net.account.uri, old_key=self._net.key.public_key())
        inner = jws.JWS.sign(wish.json_dumps().encode(), key=new, alg=josepy.ES256, nonce=None, url=url)
        self.acme._post(url, Inner(inner))
        self._net.key = new

    def obtain(self, names: Sequence[str]) -> x509.Certificate:
        """Obtain a certificate for DNS names by http-01."""
        key = ec.generate_private_key(ec.SECP256R1())
        pem = key.private_bytes(
            serialization.Encoding.PEM, serialization.PrivateFormat.PKCS8, serialization.NoEncryption()
        )
        order = self.acme.new_order(crypto_util.make_csr(pem, domains=list(names)))
        with self._answering(order) as challenge_bodies:
            for body in challenge_bodies:
                self.acme.answer_challenge(body, body.response(self.key))
            done = self.acme.poll_and_finalize(order)
        return x509.load_pem_x509_certificate(done.fullchain_pem.encode())

    @contextlib.contextmanager
    def _answering(self, order: messages.OrderResource) -> Iterator[list[messages.ChallengeBody]]:
        bodies = [
            body
            for authorization in order.authorizations
            if authorization.body.status != messages.STATUS_VALID
            for body in authorization.body.challenges
            if isinstance(body.chall, challenges.HTTP01)
        ]
        resources = {
            standalone.HTTP01RequestHandler.HTTP01Resource(
                chall=body.chall, response=body.response(self.key), validation=body.validation(self.key)
            )
            for body in bodies
        }
        servers = standalone.HTTP01DualNetworkedServers(("", self._service.http01_port), resources)
        servers.serve_forever()
        try:
            yield bodies
        finally:
            servers.shutdown_and_server_close()
