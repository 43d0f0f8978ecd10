"""Caddy, as its authors build it: it obtains by itself what it serves."""

import contextlib
from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager
from pathlib import Path

import pytest
from cryptography import x509
from cryptography.hazmat.primitives.asymmetric import ec, ed25519, rsa
from cryptography.hazmat.primitives.serialization import load_pem_private_key

from tests.interop import openssl
from tests.interop.certificates import assert_content, assert_good, names_of
from tests.interop.clients import serving
from tests.interop.deadlines import eventually
from tests.interop.library import Library, jwk_of
from tests.service import Service, free_port

pytestmark = pytest.mark.interop
_SECONDS = 30
_GLOBAL = """{{
  http_port {service.http01_port}
  https_port {service.tlsalpn01_port}
  {options}
}}
"""
_SITE = """{address} {{
  tls {{
    {tls}
    issuer acme {{
      dir {service.directory}
      trusted_roots "{service.ca_file}"
      {issuer}
    }}
  }}
  respond "hello"
}}
"""
Caddy = Callable[..., AbstractContextManager[None]]


def _site(service: Service, address: str, *, tls: str = "", issuer: str = "") -> str:
    return _SITE.format(service=service, address=address, tls=tls, issuer=issuer)


@pytest.fixture
def caddy(caddy_program: str, service: Service, tmp_path: Path) -> Caddy:
    """Give a context in which Caddy runs with some sites and global options; its home stays from one to the next."""

    @contextlib.contextmanager
    def run(*sites: str, options: str = "") -> Iterator[None]:
        file = tmp_path / "Caddyfile"
        file.write_text(_GLOBAL.format(service=service, options=options) + "".join(sites))
        command = [caddy_program, "run", "--config", str(file), "--adapter", "caddyfile"]
        environment = {"CADDY_ADMIN": f"127.0.0.1:{free_port()}"}
        with serving(command, tmp_path, environment, tmp_path / "caddy.log"):
            yield

    return run


@pytest.fixture
def served(service: Service, tmp_path: Path) -> Callable[..., x509.Certificate]:
    """Wait until Caddy serves a name with a certificate that openssl accepts, other than some; give it."""

    def wait(name: str, *others: x509.Certificate) -> x509.Certificate:
        def ask() -> x509.Certificate | None:
            certificate = openssl.served(service.tlsalpn01_port, name, service.ca_file)
            return None if certificate in others else certificate

        return eventually(ask, _SECONDS, (tmp_path / "caddy.log").read_text)

    return wait


def _stored(folder: Path, name: str, suffix: str = "crt") -> Path:
    (path,) = folder.glob(f".local/share/caddy/certificates/*/{name}/{name}.{suffix}")
    return path


@pytest.mark.parametrize("challenge", ["http", "tlsalpn"])
def test_caddy_serves_what_it_obtained_by_either_challenge(
    caddy: Caddy, served: Callable[..., x509.Certificate], service: Service, tmp_path: Path, challenge: str
) -> None:
    """With the other challenge switched off, and with each kind of key, sites are served soon (CA01, CA09)."""
    issuer = "disable_tlsalpn_challenge" if challenge == "http" else "disable_http_challenge"
    kinds = {"p256": ec.EllipticCurvePublicKey, "rsa2048": rsa.RSAPublicKey, "ed25519": ed25519.Ed25519PublicKey}
    names = {key_type: f"{key_type}.{challenge}.caddy.example" for key_type in kinds}
    sites = [_site(service, name, tls=f"key_type {key_type}", issuer=issuer) for key_type, name in names.items()]
    with caddy(*sites):
        for key_type, name in names.items():
            certificate = served(name)
            assert isinstance(certificate.public_key(), kinds[key_type])
            assert assert_good(_stored(tmp_path, name), [name], service) == certificate


def test_caddy_renews_by_itself(caddy: Caddy, served: Callable[..., x509.Certificate], service: Service) -> None:
    """A certificate that has come to its time is replaced while Caddy serves."""
    name = "renewed.caddy.example"
    # Due when all but a ten-thousandth of the life is left: at once, since certificates begin a minute back.
    options = "renew_interval 1s\n  renewal_window_ratio 0.9999"
    with caddy(_site(service, name), options=options):
        first = served(name)
        second = served(name, first)
    assert_content(second, [name])
    assert second.serial_number != first.serial_number


def test_caddy_keeps_its_certificate_over_a_restart(
    caddy: Caddy, served: Callable[..., x509.Certificate], service: Service
) -> None:
    """What Caddy stored it serves again, without another order."""
    name = "kept.caddy.example"
    with caddy(_site(service, name)):
        first = served(name)
    with caddy(_site(service, name)):
        assert served(name) == first


def test_caddy_serves_an_address(caddy: Caddy, served: Callable[..., x509.Certificate], service: Service) -> None:
    """A site that is an address gets a certificate for it (RFC 8738)."""
    with caddy(_site(service, "127.0.0.1")):
        assert names_of(served("127.0.0.1")) == {"127.0.0.1"}


def test_revoked_certificate_of_a_running_caddy_is_refused(
    caddy: Caddy, served: Callable[..., x509.Certificate], service: Service, tmp_path: Path
) -> None:
    """Caddy has no command that revokes; by the key in its storage it is done, and the CRL stops who looks (X11)."""
    name = "revoked.caddy.example"
    with caddy(_site(service, name)):
        certificate = served(name)
        chain = _stored(tmp_path, name)
        options = ("-crl_check", "-CRL", openssl.crl_of(certificate, tmp_path))
        assert openssl.connect(service.tlsalpn01_port, name, service.ca_file, *options).returncode == 0
        key = load_pem_private_key(_stored(tmp_path, name, "key").read_bytes(), None)
        Library(service, jwk_of(key)).acme.revoke(certificate, 1)
        openssl.wait_until_revoked(chain, service.ca_file)
        openssl.crl_of(certificate, tmp_path)
        refused = openssl.connect(service.tlsalpn01_port, name, service.ca_file, *options)
    assert refused.returncode != 0
    assert "certificate revoked" in refused.stdout + refused.stderr
