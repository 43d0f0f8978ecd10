"""certbot, as its authors publish it on PyPI."""

import json
from collections.abc import Callable
from pathlib import Path

import josepy
import pytest
from acme import messages
from cryptography.hazmat.primitives.asymmetric import ec, rsa

from tests.interop import openssl
from tests.interop.certificates import assert_good
from tests.interop.clients import Client, Done
from tests.interop.library import Library
from tests.interop.zone import Zone
from tests.service import Service

pytestmark = pytest.mark.interop
_QUIET = ("--non-interactive", "--agree-tos", "--register-unsafely-without-email")
Obtain = Callable[..., Path]


def _folders(certbot: Client) -> tuple[str | Path, ...]:
    return ("--config-dir", certbot.folder, "--work-dir", certbot.folder, "--logs-dir", certbot.folder / "logs")


def _attempt(certbot: Client, service: Service, verb: str, *arguments: str | Path) -> Done:
    server = ("--server", service.directory)
    return certbot.attempt(verb, *_folders(certbot), "--non-interactive", *server, *arguments)


def _run(certbot: Client, service: Service, verb: str, *arguments: str | Path) -> str:
    done = _attempt(certbot, service, verb, *arguments)
    assert done.code == 0, done.output
    return done.output


def _http01(service: Service) -> tuple[str, ...]:
    return (*_QUIET[1:], "--standalone", "--http-01-port", str(service.http01_port))


def _account(certbot: Client) -> tuple[josepy.JWK, str]:
    """Return certbot's account key and the URL of its account."""
    (folder,) = {path.parent for path in certbot.folder.glob("accounts/**/private_key.json")}
    key = josepy.JWK.json_loads((folder / "private_key.json").read_text())
    return key, json.loads((folder / "regr.json").read_text())["uri"]


@pytest.fixture
def obtain(certbot: Client, service: Service) -> Obtain:
    """Obtain a certificate by http-01, with any options of certbot's; give its folder."""

    def certonly(*options: str) -> Path:
        _run(certbot, service, "certonly", *_http01(service), "--cert-name", "it", *options)
        return certbot.folder / "live" / "it"

    return certonly


def test_certbot_makes_changes_and_deactivates_an_account(certbot: Client, service: Service) -> None:
    """Register, update, show and unregister reach the account; then it does nothing more (CA10)."""
    _run(certbot, service, "register", "--agree-tos", "--email", "first@example.com", "--no-eff-email")
    _run(certbot, service, "update_account", "--email", "second@example.com", "--no-eff-email")
    key, url = _account(certbot)
    library = Library(service, key)
    library.use_account(url)
    assert library.account().contact == ("mailto:second@example.com",)
    assert url in _run(certbot, service, "show_account")
    _run(certbot, service, "unregister")
    with pytest.raises(messages.Error) as refused:
        library.account()
    assert refused.value.code == "unauthorized"


@pytest.mark.parametrize(
    ("options", "kind", "size"),
    [
        (("--key-type", "ecdsa", "--elliptic-curve", "secp256r1"), ec.EllipticCurvePublicKey, 256),
        (("--key-type", "ecdsa", "--elliptic-curve", "secp384r1"), ec.EllipticCurvePublicKey, 384),
        (("--key-type", "rsa", "--rsa-key-size", "2048"), rsa.RSAPublicKey, 2048),
    ],
    ids=["P-256", "P-384", "RSA-2048"],
)
def test_certbot_obtains_several_names_by_http01(
    obtain: Obtain, service: Service, options: tuple[str, ...], kind: type, size: int
) -> None:
    """One certificate for several names, with each kind of key that certbot makes (CA01, CA09)."""
    folder = obtain(*options, "-d", "one.certbot.example", "-d", "two.certbot.example")
    certificate = assert_good(folder / "fullchain.pem", ["one.certbot.example", "two.certbot.example"], service)
    public_key = certificate.public_key()
    assert isinstance(public_key, kind)
    assert public_key.key_size == size


def test_certbot_obtains_a_certificate_for_addresses(obtain: Obtain, service: Service) -> None:
    """IPv4 and IPv6, by http-01 at the addresses themselves (RFC 8738); certbot 5.8 fails on one in the subject."""
    folder = obtain("--ip-address", "127.0.0.1", "--ip-address", "::1")
    certificate = assert_good(folder / "fullchain.pem", ["127.0.0.1", "::1"], service)
    assert not list(certificate.subject)


def test_certbot_obtains_a_wildcard_by_dns01(certbot: Client, service: Service, zone: Zone) -> None:
    """A wildcard and its base take two TXT records of one name, by certbot's hooks (CA09)."""
    record = f'"{zone.folder}/_acme-challenge.$CERTBOT_DOMAIN"'
    hooks = (
        *("--manual-auth-hook", f'printf "%s\\n" "$CERTBOT_VALIDATION" >> {record}'),
        *("--manual-cleanup-hook", f"rm -f {record}"),
    )
    names = ("-d", "*.wild.certbot.example", "-d", "wild.certbot.example")
    manual = ("--manual", "--preferred-challenges", "dns", *_QUIET[1:])
    _run(certbot, service, "certonly", *manual, *hooks, "--cert-name", "it", *names)
    chain = certbot.folder / "live" / "it" / "fullchain.pem"
    assert_good(chain, ["*.wild.certbot.example", "wild.certbot.example"], service)


def test_certbot_renews_with_a_new_key(certbot: Client, obtain: Obtain, service: Service) -> None:
    """`certbot renew` takes what certbot remembers of the first time; the old certificate stays good."""
    chain = obtain("-d", "renewed.certbot.example") / "fullchain.pem"
    first = assert_good(chain, ["renewed.certbot.example"], service)
    renew = ("--force-renewal", "--no-random-sleep-on-renew")
    certbot.run("renew", *_folders(certbot), "--non-interactive", *renew)
    second = assert_good(chain, ["renewed.certbot.example"], service)
    assert second.serial_number != first.serial_number
    assert second.public_key() != first.public_key()


def test_certbot_revokes_by_its_account(certbot: Client, obtain: Obtain, service: Service) -> None:
    """The account that ordered it revokes it, and once only; the CRL says so at once (X11)."""
    folder = obtain("-d", "revoked.certbot.example")
    assert_good(folder / "fullchain.pem", ["revoked.certbot.example"], service)
    revoke = ("--cert-path", folder / "cert.pem", "--no-delete-after-revoke")
    _run(certbot, service, "revoke", *revoke, "--reason", "superseded")
    openssl.wait_until_revoked(folder / "fullchain.pem", service.ca_file)
    again = _attempt(certbot, service, "revoke", *revoke)
    assert again.code != 0
    assert "revoked already" in again.output


def test_certbot_revokes_by_the_certificate_s_key(certbot: Client, obtain: Obtain, service: Service) -> None:
    """Whoever holds the key revokes without an account; that key is then certified no more (X11)."""
    folder = obtain("--reuse-key", "-d", "leaked.certbot.example")
    stranger = Client(certbot.program, certbot.folder / "stranger", certbot.environment)
    stranger.folder.mkdir()
    revoke = ("--cert-path", folder / "cert.pem", "--key-path", folder / "privkey.pem", "--no-delete-after-revoke")
    _run(stranger, service, "revoke", *revoke, "--reason", "keycompromise")
    openssl.wait_until_revoked(folder / "fullchain.pem", service.ca_file)
    assert not list(stranger.folder.glob("accounts/**/private_key.json"))
    arguments = ("--cert-name", "it", "--reuse-key", "--force-renewal", "-d", "leaked.certbot.example")
    refused = _attempt(certbot, service, "certonly", *_http01(service), *arguments)
    assert refused.code != 0
    assert "compromise" in refused.output


def test_certbot_is_told_why_a_challenge_failed(certbot: Client, service: Service) -> None:
    """Nobody answers at the port: certbot ends soon, and shows the server's problem (RFC 8555 6.7)."""
    webroot = ("--webroot", "--webroot-path", certbot.folder, *_QUIET[1:])
    failed = _attempt(certbot, service, "certonly", *webroot, "-d", "nobody.certbot.example")
    assert failed.code != 0
    assert f"port {service.http01_port}" in failed.output
    assert not (certbot.folder / "live").exists()
