"""Revocation over the wire (X11)."""

from datetime import timedelta

from cryptography import x509
from cryptography.hazmat.primitives import hashes
from cryptography.hazmat.primitives.serialization import Encoding
from sqlalchemy import select

from pki.core import Core
from pki.storage.tables import certificates, issuers
from tests.acme_server.client import Client, csr_for, new_key, refused
from tests.acme_server.conftest import Prove
from tests.acme_server.signing import b64
from tests.acme_server.validation.servers import DnsServer
from tests.clocks import FrozenClock

NAME = "www.example.com"


def _state(core: Core, certificate: bytes) -> tuple[str, int | None]:
    query = select(certificates.c.state, certificates.c.revocation_reason)
    with core.database.read() as tx:
        row = tx.execute(query.where(certificates.c.certificate == certificate)).one()
    return row[0], row[1]


def test_the_account_that_ordered_revokes_once(client: Client, core: Core, issue: Prove) -> None:
    """X11, RFC 8555 7.6: 200; again: alreadyRevoked with 400; the certificate can still be fetched."""
    order = issue(client, NAME)
    certificate = order.certificate()
    response = client.revoke(certificate, reason=4)
    assert (response.status_code, response.get_data()) == (200, b"")
    assert _state(core, certificate) == ("revoked", 4)
    assert refused(client.revoke(certificate, reason=4)) == (400, "alreadyRevoked")
    assert order.certificate() == certificate


def test_a_stranger_revokes_nothing(client: Client, another: Client, core: Core, issue: Prove) -> None:
    """X11: neither an account without authorizations nor any other key."""
    certificate = issue(client, NAME).certificate()
    assert refused(another.revoke(certificate)) == (403, "unauthorized")
    bare = Client(client.application)
    assert refused(bare.revoke(certificate)) == (403, "unauthorized")
    assert refused(Client(client.application, client.key).revoke(certificate)) == (403, "unauthorized")
    assert _state(core, certificate) == ("issued", None)


def test_the_certificates_own_key_revokes_it_alone(client: Client, core: Core, issue: Prove) -> None:
    """X11, RFC 8555 7.6: a jwk-signed request by the key in the certificate, and by no other certificate's."""
    mine, others = new_key(), new_key()
    certificate = issue(client, NAME, key=mine).certificate()
    issue(client, "b.example.com", key=others)
    assert refused(Client(client.application, others).revoke(certificate)) == (403, "unauthorized")
    assert Client(client.application, mine).revoke(certificate, reason=1).status_code == 200
    assert _state(core, certificate) == ("revoked", 1)


def test_a_compromised_key_is_never_certified_again(client: Client, issue: Prove, prove: Prove) -> None:
    """X11: after keyCompromise the key is refused for other names and other accounts."""
    key = new_key()
    client.revoke(issue(client, NAME, key=key).certificate(), reason=1)
    order = prove(client, "b.example.com")
    assert refused(order.finalize(csr_for(["b.example.com"], key))) == (400, "badCSR")


def test_an_account_with_authorizations_for_all_names_revokes(
    client: Client, another: Client, core: Core, issue: Prove, prove: Prove
) -> None:
    """X11, RFC 8555 7.6: all names and not some; and it can't have the other's key blocked."""
    certificate = issue(client, "a.example.com", "b.example.com").certificate()
    prove(another, "a.example.com")
    assert refused(another.revoke(certificate)) == (403, "unauthorized")
    prove(another, "b.example.com")
    assert refused(another.revoke(certificate, reason=1)) == (400, "badRevocationReason")
    assert another.revoke(certificate, reason=5).status_code == 200
    assert _state(core, certificate) == ("revoked", 5)


def test_an_authorization_given_up_revokes_nothing(client: Client, another: Client, issue: Prove, prove: Prove) -> None:
    """X12: an authorization counts until it is deactivated."""
    certificate = issue(client, NAME).certificate()
    order = prove(another, NAME)
    another.post(order.document["authorizations"][0], {"status": "deactivated"})
    assert refused(another.revoke(certificate)) == (403, "unauthorized")


def test_an_expired_authorization_revokes_nothing(
    client: Client, another: Client, issue: Prove, prove: Prove, house_clock: FrozenClock
) -> None:
    """X12: an authorization counts until it expires."""
    certificate = issue(client, NAME).certificate()
    prove(another, NAME)
    house_clock.advance(timedelta(days=7))
    assert refused(another.revoke(certificate)) == (403, "unauthorized")


def test_a_name_does_not_stand_for_its_wildcard(
    client: Client, another: Client, nameserver: DnsServer, prove: Prove
) -> None:
    """X12: who proved example.com may not revoke a certificate for *.example.com."""
    order = client.order("*.example.com")
    nameserver.zone["_acme-challenge.example.com", "TXT"] = [client.txt(order.authorizations()[0])]
    assert order.attempt("dns-01")["status"] == "valid"
    assert order.finalize(csr_for(["*.example.com"])).status_code == 200
    certificate = order.certificate()
    prove(another, "example.com")
    assert refused(another.revoke(certificate)) == (403, "unauthorized")


def test_other_reasons_are_refused(client: Client, core: Core, issue: Prove) -> None:
    """X11, RFC 8555 7.6: badRevocationReason; holds, CA and AA reasons are not for end entities."""
    certificate = issue(client, NAME).certificate()
    for reason in (2, 6, 7, 8, 9, 10, 11, -1, 2**70, "1", 1.0, True, None, [], {}):
        assert refused(client.revoke(certificate, reason=reason)) == (400, "badRevocationReason")
    assert _state(core, certificate) == ("issued", None)


def test_all_reasons_of_clients_are_taken(client: Client, core: Core, issue: Prove) -> None:
    """X11: 0, 1, 3, 4 and 5, and none at all."""
    for reason in (None, 0, 3, 4, 5, 1):
        certificate = issue(client, NAME).certificate()
        more = {} if reason is None else {"reason": reason}
        assert client.revoke(certificate, **more).status_code == 200
        assert _state(core, certificate) == ("revoked", reason or 0)


def test_a_forged_certificate_with_a_stored_serial_revokes_nothing(client: Client, core: Core, issue: Prove) -> None:
    """X11: the stored octets decide; a look-alike with issuer name and serial of a real one is not found."""
    certificate = issue(client, NAME).certificate()
    real, attacker = x509.load_der_x509_certificate(certificate), new_key()
    forged = (
        x509.CertificateBuilder()
        .subject_name(real.subject)
        .issuer_name(real.issuer)
        .serial_number(real.serial_number)
        .not_valid_before(real.not_valid_before_utc)
        .not_valid_after(real.not_valid_after_utc)
        .public_key(attacker.public_key())
        .sign(attacker, hashes.SHA256())
        .public_bytes(Encoding.DER)
    )
    assert refused(Client(client.application, attacker).revoke(forged)) == (404, "malformed")
    assert refused(client.revoke(forged)) == (404, "malformed")
    assert refused(client.revoke(certificate + b"\x00"))[0] == 404
    altered = bytearray(certificate)
    altered[-1] ^= 1
    assert refused(client.revoke(bytes(altered)))[0] == 404
    assert _state(core, certificate) == ("issued", None)


def test_the_authoritys_own_certificates_are_not_touched(client: Client, core: Core) -> None:
    """X11: neither root nor intermediate is revoked over ACME."""
    with core.database.read() as tx:
        found = list(tx.execute(select(issuers.c.certificate)).scalars())
    assert len(found) == 2
    for certificate in found:
        assert refused(client.revoke(bytes(certificate))) == (403, "unauthorized")
        assert _state(core, certificate) == ("issued", None)


def test_what_is_no_certificate_is_malformed(client: Client) -> None:
    """D4: any payload is a problem."""
    url = client.url("revoke-cert")
    for payload in ({}, {"certificate": None}, {"certificate": 5}, {"certificate": ""}, {"certificate": "a+/="}):
        assert refused(client.post(url, payload)) == (400, "malformed")
    assert refused(client.post(url)) == (400, "malformed")
    assert refused(client.revoke(b"\x30\x00"))[0] == 404
    pem = b"-----BEGIN CERTIFICATE-----"
    assert refused(client.post(url, {"certificate": b64(pem)}))[0] == 404
