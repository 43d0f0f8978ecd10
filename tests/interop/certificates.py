"""What every certificate has that a client obtained, whichever client it was."""

from collections.abc import Sequence
from datetime import timedelta
from pathlib import Path

from cryptography import x509

from tests.interop import openssl
from tests.service import Service


def names_of(certificate: x509.Certificate) -> set[str]:
    """Return the names in the certificate, each as text."""
    names = certificate.extensions.get_extension_for_class(x509.SubjectAlternativeName).value
    return {str(name.value) for name in names}


def assert_good(chain: Path, names: Sequence[str], service: Service) -> x509.Certificate:
    """Check the chain in a client's PEM file, and return its first certificate.

    It has exactly these names, in a critical extension under an empty subject (RFC 5280 4.2.1.6), lives for a day at
    most, and openssl accepts it with the root alone and the CRL to which it points.
    """
    certificate, *issuers = x509.load_pem_x509_certificates(chain.read_bytes())
    assert_content(certificate, names)
    assert len(issuers) == 1, "the intermediate goes with it, and the root does not"
    crl = openssl.crl_of(certificate, chain.parent)
    verdict = openssl.verify(chain, service.ca_file, "-crl_check", "-CRLfile", crl)
    assert verdict.returncode == 0, verdict.stderr
    return certificate


def assert_content(certificate: x509.Certificate, names: Sequence[str]) -> None:
    """Check the names, the subject and the lifetime."""
    assert names_of(certificate) == set(names)
    assert certificate.extensions.get_extension_for_class(x509.SubjectAlternativeName).critical
    assert not list(certificate.subject)
    assert certificate.not_valid_after_utc - certificate.not_valid_before_utc <= timedelta(hours=24)
