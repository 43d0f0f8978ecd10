"""On the service's machine: what came back from the ceremony is examined and put to use.

The root gets an issuer without a key, so that it can never sign here; the reserved intermediate becomes active.
"""

import hashlib
import ipaddress
from dataclasses import dataclass
from typing import Any

from cryptography import x509
from cryptography.exceptions import InvalidSignature
from cryptography.hazmat.primitives.serialization import Encoding
from cryptography.x509.oid import AuthorityInformationAccessOID
from sqlalchemy import Select, insert, select, update

from pki.audit.trail import Event
from pki.authority.drafts import spki
from pki.authority.issuers import Issuer
from pki.authority.lint import Linter
from pki.authority.locations import Locations
from pki.authority.profiles import NAMESPACE
from pki.ceremony.acts import as_issuer, root_id
from pki.ceremony.promises import permitted_names
from pki.ceremony.script import INTERMEDIATE, ROOT
from pki.clock import rfc3339, to_ms
from pki.core import Core, http_base_url
from pki.errors import Conflict, NotFound, Rejected
from pki.ledger.weak_keys import check_key
from pki.storage.database import Tx
from pki.storage.tables import crls, issuers

_ACTOR = "house:ceremony"


@dataclass(frozen=True, slots=True)
class _Reserved:
    id: str
    key_id: bytes
    subject: str
    spki_sha256: str


def install(core: Core, intermediate: x509.Certificate, root: x509.Certificate) -> bool:
    """Put the intermediate to use below its root; tell whether that changed anything, which a second time does not.

    Raises:
        NotFound: no request was made here.
        Conflict: other certificates are installed.
        Rejected: one of the two is not what was asked for, or would serve nobody; the message says why.
        LintFailed: one of the two breaks a standard.
        HsmError, DatabaseUnavailable: not now.
    """
    if _is_installed(core, intermediate, root):
        return False
    reserved = _reserved(core)
    _check_root(core, root)
    _check_intermediate(core, intermediate, root, reserved)
    now = to_ms(core.clock.now())
    event = Event(
        _ACTOR,
        "issuer.install",
        reserved.id,
        detail={"issuer": INTERMEDIATE, "fingerprint": _fingerprint(intermediate), "root": _fingerprint(root)},
    )

    def work(tx: Tx) -> None:
        core.trail.require_forward(tx)
        tx.execute(insert(issuers).values(_root_row(root, now)))
        done = tx.execute(
            update(issuers)
            .where(issuers.c.id == reserved.id, issuers.c.state == "reserved")
            .values(
                state="active",
                parent_id=root_id(root),
                certificate=intermediate.public_bytes(Encoding.DER),
                not_before=to_ms(intermediate.not_valid_before_utc),
                not_after=to_ms(intermediate.not_valid_after_utc),
            )
        )
        if done.rowcount != 1:
            raise Conflict("the request is no longer open", advice="see what was installed meanwhile")
        core.trail.record(tx, event)

    core.database.write(work)
    return True


def install_crl(core: Core, crl: x509.CertificateRevocationList) -> int:
    """Publish a CRL of the external root from now on, and return its number. The same one again changes nothing.

    Raises:
        NotFound: there is no external root.
        Rejected: the CRL is not that root's, is out of date, or is older than the one that is published.
        DatabaseUnavailable: not now.
    """
    root = core.issuers.find(ROOT)
    if root is None or root.key_id:
        raise NotFound("no external root is installed here", advice="install intermediate and root first")
    number = _check_crl(core, crl, root)
    end = crl.next_update_utc
    values = {
        "issuer_id": root.id,
        "number": number,
        "namespace_id": NAMESPACE,
        "state": "published",
        "tbs": crl.tbs_certlist_bytes,
        "der": crl.public_bytes(Encoding.DER),
        "this_update": to_ms(crl.last_update_utc),
        "next_update": to_ms(end) if end else 0,
        "entries": len(crl),
        "reserved_at": to_ms(core.clock.now()),
    }
    event = Event(_ACTOR, "crl.install", root.id, detail={"issuer": ROOT, "number": number})

    def work(tx: Tx) -> None:
        last = tx.execute(_last_crl(root)).first()
        if last is not None and bytes(last.der) == values["der"]:
            return
        if last is not None and last.number >= number:
            advice = "give the next one a higher number"
            raise Rejected(f"the CRL's number is {number}, and {last.number} is published", "badCrl", advice=advice)
        tx.execute(insert(crls).values(values))
        core.trail.record(tx, event)

    core.database.write(work)
    return number


def _is_installed(core: Core, intermediate: x509.Certificate, root: x509.Certificate) -> bool:
    found = core.issuers.find(INTERMEDIATE), core.issuers.find(ROOT)
    if found == (None, None):
        return False
    if tuple(item.certificate if item else None for item in found) != (intermediate, root):
        raise Conflict("another intermediate or root is installed", advice="nothing was changed")
    return True


def _reserved(core: Core) -> _Reserved:
    query = select(issuers).where(issuers.c.name == INTERMEDIATE, issuers.c.state == "reserved")
    with core.database.read() as tx:
        row = tx.execute(query).first()
    if row is None:
        raise NotFound("no request was made here", advice="run `sealward ceremony request` first")
    return _Reserved(row.id, bytes.fromhex(row.key_id_hex), row.subject, row.spki_sha256)


def _check_root(core: Core, root: x509.Certificate) -> None:
    try:
        root.verify_directly_issued_by(root)
    except (ValueError, TypeError, InvalidSignature):
        raise _refused("the root is not signed by its own key", "name the intermediate first, then the root") from None
    Linter().check(root, None)
    _require_valid(core, root, "root")


def _check_intermediate(core: Core, certificate: x509.Certificate, root: x509.Certificate, reserved: _Reserved) -> None:
    try:
        certificate.verify_directly_issued_by(root)
    except (ValueError, TypeError, InvalidSignature):
        raise _refused("the intermediate is not signed by that root", "carry both from one ceremony") from None
    Linter().check(certificate, root)
    _require_valid(core, certificate, "intermediate")
    key = core.hsm.signing_key(reserved.key_id).public_key()
    if key != certificate.public_key() or hashlib.sha256(spki(key)).hexdigest() != reserved.spki_sha256:
        raise _refused(
            "the intermediate's key is not the one in this token",
            "it was made for another request: have the one signed that `sealward ceremony request` writes here",
        )
    if certificate.subject.rfc4514_string() != reserved.subject:
        raise _refused("the intermediate's subject is not the requested one", f"it is to be {reserved.subject}")
    _check_constraints(core, certificate)
    _check_places(core, certificate, root)


def _check_constraints(core: Core, certificate: x509.Certificate) -> None:
    wanted = core.config.authority
    basic = certificate.extensions.get_extension_for_class(x509.BasicConstraints).value
    if not basic.ca or basic.path_length != 0:
        raise _refused("the intermediate's path length is not 0", "it issues end-entity certificates alone")
    try:
        found = permitted_names(certificate)
    except ValueError as error:
        raise _refused(str(error), "the configuration's permitted_dns and permitted_ip say what is meant") from None
    networks = {str(ipaddress.ip_network(item)) for item in wanted.permitted_ip}
    if found != (set(wanted.permitted_dns), networks):
        raise _refused(
            "the intermediate's name constraints are not those of the configuration",
            "make permitted_dns and permitted_ip of the script and of [authority] the same",
        )


def _check_places(core: Core, certificate: x509.Certificate, root: x509.Certificate) -> None:
    """Refuse pointers to where this service does not publish: they cannot be changed afterwards."""
    locations = Locations(http_base_url(core.config))
    expected = [locations.crl(root_id(root))], [locations.certificate(root_id(root))]
    points = certificate.extensions.get_extension_for_class(x509.CRLDistributionPoints).value
    access = certificate.extensions.get_extension_for_class(x509.AuthorityInformationAccess).value
    lists = [name.value for point in points for name in point.full_name or ()]
    above = [i.access_location.value for i in access if i.access_method == AuthorityInformationAccessOID.CA_ISSUERS]
    if (lists, above) != expected:
        base = http_base_url(core.config)
        raise _refused("the intermediate points to where this service does not publish", f"base_url is to be {base}")


def _require_valid(core: Core, certificate: x509.Certificate, what: str) -> None:
    now = core.clock.now()
    first, last = certificate.not_valid_before_utc, certificate.not_valid_after_utc
    if not first <= now <= last:
        raise _refused(f"the {what} is valid from {rfc3339(first)} to {rfc3339(last)}", "compare the machines' clocks")


def _check_crl(core: Core, crl: x509.CertificateRevocationList, root: Issuer) -> int:
    key, now, end = check_key(root.certificate.public_key()), core.clock.now(), crl.next_update_utc
    if crl.issuer != root.certificate.subject or not crl.is_signature_valid(key):
        raise Rejected("the CRL is not by the installed root", "badCrl", advice="carry the right one here")
    if end is None or not crl.last_update_utc <= now < end:
        raise Rejected("the CRL is not for now", "badCrl", advice="sign a new one, and compare the machines' clocks")
    try:
        return int(crl.extensions.get_extension_for_class(x509.CRLNumber).value.crl_number)
    except x509.ExtensionNotFound:
        raise Rejected("the CRL has no number", "badCrl", advice="sign it in a ceremony") from None


def _last_crl(root: Issuer) -> Select[Any]:
    query = select(crls.c.number, crls.c.der).where(crls.c.issuer_id == root.id, crls.c.state == "published")
    return query.order_by(crls.c.number.desc()).limit(1)


def _root_row(root: x509.Certificate, now: int) -> dict[str, object]:
    issuer, octets = as_issuer(root), spki(check_key(root.public_key()))
    return {
        "id": issuer.id,
        "namespace_id": NAMESPACE,
        "name": ROOT,
        "kind": "root",
        "parent_id": None,
        "key_id_hex": "",
        "key_algorithm": "external",
        "certificate": root.public_bytes(Encoding.DER),
        "subject": root.subject.rfc4514_string(),
        "subject_key_id": x509.SubjectKeyIdentifier.from_public_key(issuer.certificate.public_key()).digest.hex(),
        "spki_sha256": hashlib.sha256(octets).hexdigest(),
        "not_before": to_ms(root.not_valid_before_utc),
        "not_after": to_ms(root.not_valid_after_utc),
        "state": "active",
        "created_at": now,
    }


def _fingerprint(certificate: x509.Certificate) -> str:
    return hashlib.sha256(certificate.public_bytes(Encoding.DER)).hexdigest()


def _refused(message: str, advice: str) -> Rejected:
    return Rejected(message, "badCertificate", advice=advice)
