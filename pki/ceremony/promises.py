"""What the script promised of each thing that comes out of its acts, held against the thing itself."""

import hashlib
import ipaddress
from datetime import timedelta

from cryptography import x509

from pki.authority.crl import encode_list
from pki.authority.lint import Linter
from pki.ceremony.acts import as_issuer, key_in_request
from pki.ceremony.script import Act, CreateRoot, Crl, SignIntermediate

_SECOND = timedelta(seconds=1)
Found = x509.Certificate | x509.CertificateRevocationList


def check_promise(act: Act, found: Found, root: x509.Certificate, request: bytes | None) -> None:
    """Check a certificate or CRL against the act it came out of; ValueError or SealwardError say what differs."""
    if isinstance(act, Crl):
        _check_crl(act, found, root)
        return
    if not isinstance(found, x509.Certificate):
        raise ValueError("it is no certificate")
    _check_certificate(act, found)
    if isinstance(act, CreateRoot):
        if found != root:
            raise ValueError("it is not this root")
        Linter().check(found, None)
        return
    if request is None or hashlib.sha256(request).hexdigest() != act.request_sha256:
        raise ValueError("the request is not the one that was agreed to")
    if key_in_request(request) != found.public_key():
        raise ValueError("its key is not the requested one")
    Linter().check(found, root)


def _check_certificate(act: CreateRoot | SignIntermediate, found: x509.Certificate) -> None:
    if found.subject != act.subject.name():
        raise ValueError("the subject differs")
    life = found.not_valid_after_utc - found.not_valid_before_utc + _SECOND
    if life > timedelta(days=act.days) or (isinstance(act, CreateRoot) and life != timedelta(days=act.days)):
        raise ValueError("the lifetime differs")
    constraints = found.extensions.get_extension_for_class(x509.BasicConstraints).value
    if not constraints.ca or constraints.path_length != act.path_length:
        raise ValueError("the path length differs")
    if permitted_names(found) != (set(act.permitted_dns), {str(ipaddress.ip_network(i)) for i in act.permitted_ip}):
        raise ValueError("the name constraints differ")


def permitted_names(certificate: x509.Certificate) -> tuple[set[str], set[str]]:
    """Return the domains and the networks to which a CA's name constraints bind it; both empty without any.

    Raises:
        ValueError: they constrain something else too.
    """
    try:
        constraints = certificate.extensions.get_extension_for_class(x509.NameConstraints).value
    except x509.ExtensionNotFound:
        return set(), set()
    permitted = constraints.permitted_subtrees or []
    domains = {item.value for item in permitted if isinstance(item, x509.DNSName)}
    networks = {str(item.value) for item in permitted if isinstance(item, x509.IPAddress)}
    if constraints.excluded_subtrees or len(domains) + len(networks) != len(permitted):
        raise ValueError("the name constraints are of another kind")
    return domains, networks


def _check_crl(act: Crl, found: Found, root: x509.Certificate) -> None:
    if not isinstance(found, x509.CertificateRevocationList) or found.issuer != root.subject:
        raise ValueError("it is no CRL of this root")
    start, end = found.last_update_utc, found.next_update_utc
    if end is None or end - start > timedelta(days=act.days):
        raise ValueError("the lifetime differs")
    if encode_list(as_issuer(root), act.number, start, end, [item.entry() for item in act.revoked]) != found_tbs(found):
        raise ValueError("the number or the revoked certificates differ")


def found_tbs(found: Found) -> bytes:
    """Return what is signed of a certificate or CRL."""
    return found.tbs_certificate_bytes if isinstance(found, x509.Certificate) else found.tbs_certlist_bytes
