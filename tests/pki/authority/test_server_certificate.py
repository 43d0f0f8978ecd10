"""The house's own TLS certificate renews itself, and is never a reason not to start."""

import stat
from datetime import timedelta
from pathlib import Path

import pytest
from cryptography import x509

from pki.authority.server_certificate import ServerCertificate, server_name
from pki.core import Core, server_pem
from pki.errors import Misconfigured
from tests.clocks import FrozenClock


def _certificate(path: Path) -> x509.Certificate:
    return x509.load_pem_x509_certificates(path.read_bytes())[0]


def test_the_file_holds_key_and_chain_for_its_owner_alone(core: Core) -> None:
    """A02: one file of mode 0600, so that key and certificate change together; no temporary file stays."""
    assert core.server_certificate.renew_if_due()
    path = server_pem(core.config)
    assert stat.S_IMODE(path.stat().st_mode) == 0o600
    assert path.read_text().count("BEGIN CERTIFICATE") == 2
    assert [item.name for item in path.parent.iterdir()] == ["server.pem"]
    names = _certificate(path).extensions.get_extension_for_class(x509.SubjectAlternativeName).value
    assert sorted(str(item.value) for item in names) == ["ca.example"]


def test_it_is_renewed_at_two_thirds_of_its_life(core: Core, house_clock: FrozenClock) -> None:
    """CA56: not before, and then with a new key."""
    core.server_certificate.renew_if_due()
    first = _certificate(server_pem(core.config))
    house_clock.advance(timedelta(days=4))
    assert not core.server_certificate.renew_if_due()
    house_clock.advance(timedelta(days=1))
    assert core.server_certificate.renew_if_due()
    assert _certificate(server_pem(core.config)).public_key() != first.public_key()


def test_everything_of_its_own_expired_is_no_obstacle(core: Core, house_clock: FrozenClock) -> None:
    """Z-B14: 25 months later the CRLs and the TLS certificate are long gone, and it issues all the same."""
    core.server_certificate.renew_if_due()
    house_clock.advance(timedelta(days=25 * 30.5))
    assert core.server_certificate.renew_if_due()
    assert core.crls.publish_due() == 2
    certificate = _certificate(server_pem(core.config))
    assert certificate.not_valid_before_utc <= house_clock.now() < certificate.not_valid_after_utc


@pytest.mark.parametrize(
    "content", [b"", b"not PEM", b"-----BEGIN CERTIFICATE-----\nAA==\n-----END CERTIFICATE-----\n"]
)
def test_a_file_that_cannot_be_read_is_replaced(core: Core, content: bytes) -> None:
    """Whatever stands there, a good certificate stands there after."""
    path = server_pem(core.config)
    path.parent.mkdir()
    path.write_bytes(content)
    assert core.server_certificate.renew_if_due()
    assert not core.server_certificate.renew_if_due()


def test_other_names_in_the_configuration_are_taken_up(core: Core) -> None:
    """A changed [server] names takes effect at the next start."""
    path = server_pem(core.config)
    core.server_certificate.renew_if_due()
    renamed = ServerCertificate(core.gate, core.issuers, core.clock, path, ["ca.corp.example"])
    assert renamed.renew_if_due()
    assert not renamed.renew_if_due()


def test_what_cannot_be_written_says_so_and_leaves_nothing(core: Core, tmp_path: Path) -> None:
    """A directory in the way is one clear line; no temporary file stays."""
    path = tmp_path / "tls" / "server.pem"
    (path / "occupied").mkdir(parents=True)
    with pytest.raises(Misconfigured, match=r"cannot write .*server\.pem"):
        ServerCertificate(core.gate, core.issuers, core.clock, path, ["localhost"]).renew_if_due()
    assert [item.name for item in path.parent.iterdir()] == ["server.pem"]


def test_a_server_name_is_a_dns_name_or_an_address() -> None:
    """A misspelt name in the configuration is one clear line."""
    assert str(server_name("CA.example")) == "dns:ca.example"
    assert str(server_name("::1")) == "ip:::1"
    with pytest.raises(Misconfigured, match=r"\[server\] names"):
        server_name("no such name")
