"""lego, as Debian ships it."""

from pathlib import Path

import pytest
from cryptography.hazmat.primitives.asymmetric import ec, rsa

from tests.interop import openssl
from tests.interop.certificates import assert_good
from tests.interop.clients import Client
from tests.interop.zone import Zone
from tests.service import Service

pytestmark = pytest.mark.interop


def _with_account(service: Service, *names: str) -> list[str]:
    domains = [word for name in names for word in ("--domains", name)]
    return ["--server", service.directory, "--accept-tos", "--email", "lego@example.com", "--path", "lego", *domains]


def _http01(service: Service) -> tuple[str, ...]:
    return ("--http", "--http.port", f":{service.http01_port}")


def _chain(lego: Client, name: str) -> Path:
    return lego.folder / "lego" / "certificates" / f"{name}.crt"


@pytest.mark.parametrize(
    ("key_type", "kind", "size"),
    [("ec384", ec.EllipticCurvePublicKey, 384), ("rsa2048", rsa.RSAPublicKey, 2048)],
)
def test_lego_obtains_several_names_by_http01(
    lego: Client, service: Service, key_type: str, kind: type, size: int
) -> None:
    """One certificate for several names, with a key of the kind asked for (CA01, CA09)."""
    names = ("one.lego.example", "two.lego.example")
    lego.run(*_with_account(service, *names), "--key-type", key_type, *_http01(service), "run")
    public_key = assert_good(_chain(lego, names[0]), names, service).public_key()
    assert isinstance(public_key, kind)
    assert public_key.key_size == size


def test_lego_obtains_several_names_by_tlsalpn01(lego: Client, service: Service) -> None:
    """The answer is a certificate of lego's own making, in the handshake (RFC 8737)."""
    names = ("three.lego.example", "four.lego.example")
    tls = ("--tls", "--tls.port", f":{service.tlsalpn01_port}")
    output = lego.run(*_with_account(service, *names), *tls, "run")
    assert "Trying to solve TLS-ALPN-01" in output
    assert_good(_chain(lego, names[0]), names, service)


def test_lego_obtains_a_wildcard_by_dns01(lego: Client, service: Service, zone: Zone) -> None:
    """A wildcard and its base, by lego's exec provider."""
    names = ("*.wild.lego.example", "wild.lego.example")
    dns = ("--dns", "exec", "--dns.resolvers", zone.resolver, "--dns.disable-cp")
    hook = {"EXEC_PATH": str(zone.hook()), "EXEC_SEQUENCE_INTERVAL": "1"}
    output = lego.run(*_with_account(service, *names), *dns, "run", **hook)
    assert "Trying to solve DNS-01" in output
    assert_good(_chain(lego, "_.wild.lego.example"), names, service)


def test_lego_renews_with_the_account_it_has(lego: Client, service: Service) -> None:
    """`lego renew` gives a new certificate; with --reuse-key for the same key."""
    name = "renewed.lego.example"
    arguments = [*_with_account(service, name), *_http01(service)]
    lego.run(*arguments, "run")
    first = assert_good(_chain(lego, name), [name], service)
    lego.run(*arguments, "renew", "--days", "90", "--no-random-sleep", "--reuse-key")
    second = assert_good(_chain(lego, name), [name], service)
    assert second.serial_number != first.serial_number
    assert second.public_key() == first.public_key()


def test_lego_revokes_by_its_account(lego: Client, service: Service) -> None:
    """What lego obtained it revokes, and the CRL says so at once (X11)."""
    name = "revoked.lego.example"
    lego.run(*_with_account(service, name), *_http01(service), "run")
    assert_good(_chain(lego, name), [name], service)
    output = lego.run(*_with_account(service, name), "revoke", "--keep", "--reason", "5")
    assert "Certificate was revoked" in output
    openssl.wait_until_revoked(_chain(lego, name), service.ca_file)


def test_lego_is_told_that_an_address_is_no_dns_name(lego: Client, service: Service) -> None:
    """An address, which lego 4 sends as a DNS name, is refused before any challenge, by its problem (RFC 8738)."""
    failed = lego.attempt(*_with_account(service, "127.0.0.1"), *_http01(service), "run")
    assert failed.code != 0
    assert "urn:ietf:params:acme:error:rejectedIdentifier" in failed.output
    assert not _chain(lego, "127.0.0.1").exists()
