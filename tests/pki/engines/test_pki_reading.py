"""Reading what was issued, listing it, and revoking it."""

import subprocess
from datetime import timedelta
from pathlib import Path
from typing import Any

import pytest
from cryptography import x509
from cryptography.hazmat.primitives import hashes
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.hazmat.primitives.serialization import Encoding
from cryptography.x509.oid import ExtensionOID

from pki.engines.pki import Pki
from pki.errors import Conflict, Malformed, NotFound, Rejected
from pki.operations.call import Reply
from tests.clocks import FrozenClock
from tests.pki.engines.pki_house import NOTHING, WEB, Authority, authority, certificate, csr, data

__all__ = ["authority"]


def _serial(authority: Authority, *names: str, role: str = "web") -> str:
    return str(data(authority.sign(csr(*(names or ("a.example",))), role=role))["serial_number"])


def _read(authority: Authority, name: str, **variables: str) -> Reply:
    function = getattr(authority.engine, name)
    reply: Reply = function(authority.caller.call(name), NOTHING, **variables)
    return reply


def _raw(reply: Reply) -> tuple[str, bytes]:
    assert reply.raw is not None
    return reply.raw


def test_a_serial_number_is_read_in_every_spelling(authority: Authority) -> None:
    """CA40: with colons, hyphens or bare, in either case; what is none is malformed, what is unknown is absent."""
    colons = _serial(authority)
    expected = data(_read(authority, "read_certificate", serial=colons))
    assert expected["revocation_time"] == 0
    assert expected["serial_number"] == colons
    for spelling in (colons.replace(":", "-"), colons.replace(":", ""), colons.upper()):
        assert data(_read(authority, "read_certificate", serial=spelling)) == expected
    for wrong in ("", "xyz", "12::34", "0x12", "1" * 100, "١٢", "12\n", "-12"):
        with pytest.raises(Malformed):
            _read(authority, "read_certificate", serial=wrong)
    for unknown in ("12", "00", colons[:-2] + ("00" if colons[-2:] != "00" else "01")):
        with pytest.raises(NotFound):
            _read(authority, "read_certificate", serial=unknown)


def test_what_is_open_to_all_tells_no_more_than_the_certificate(authority: Authority) -> None:
    """Who asked, and by which role, is for those who may read the ledger."""
    serial = _serial(authority)
    assert data(_read(authority, "read_certificate", serial=serial)).keys().isdisjoint({"requester", "role", "state"})
    openly = {item.name for item in Pki.operations() if item.open}
    assert not openly & {"list_certificates", "list_certificates_detailed", "read_certificate_detailed", "read_role"}
    assert {item.verb for item in Pki.operations() if item.open} == {"read", "list"}
    known = data(_read(authority, "read_certificate_detailed", serial=serial))
    assert known["requester"] == "alice (accessor1)"
    assert known["role"] == "web"
    assert known["state"] == "issued"
    assert known["names"] == ["dns:a.example"]
    assert certificate(known).serial_number == int(serial.replace(":", ""), 16)


def test_ca_certificates_and_crls_are_read_raw_and_enveloped(authority: Authority) -> None:
    """CA40, Bank-Vaults, `bao`: DER and PEM with their content types; the chain ends in the root."""
    intermediate = authority.core.issuers.named("intermediate").certificate
    der = intermediate.public_bytes(Encoding.DER)
    pem = intermediate.public_bytes(Encoding.PEM)
    assert _raw(_read(authority, "read_ca")) == ("application/pkix-cert", der)
    assert _raw(_read(authority, "read_ca_pem")) == ("application/pem-certificate-chain", pem)
    assert data(_read(authority, "read_ca_enveloped"))["certificate"] == pem.decode().rstrip("\n")
    chain = x509.load_pem_x509_certificates(_raw(_read(authority, "read_ca_chain"))[1])
    assert chain == [intermediate, authority.core.issuers.named("root").certificate]
    assert (
        x509.load_pem_x509_certificates(data(_read(authority, "read_ca_chain_enveloped"))["ca_chain"].encode()) == chain
    )
    authority.core.crls.publish_due()
    crl = x509.load_der_x509_crl(_raw(_read(authority, "read_crl"))[1])
    assert crl.issuer == intermediate.subject
    assert x509.load_pem_x509_crl(_raw(_read(authority, "read_crl_pem"))[1]) == crl
    assert x509.load_pem_x509_crl(data(_read(authority, "read_crl_enveloped"))["certificate"].encode()) == crl


def test_a_certificate_is_read_raw(authority: Authority) -> None:
    """In DER and PEM, as it was issued."""
    reply = authority.sign(csr("a.example"))
    serial, found = data(reply)["serial_number"], certificate(reply)
    assert _raw(_read(authority, "read_certificate_raw", serial=serial))[1] == found.public_bytes(Encoding.DER)
    assert _raw(_read(authority, "read_certificate_raw_pem", serial=serial))[1] == found.public_bytes(Encoding.PEM)


def test_issuers_are_listed_and_read(authority: Authority) -> None:
    """By name, by id and as default; the default one is marked."""
    listed = data(_read(authority, "list_issuers"))
    intermediate = authority.core.issuers.named("intermediate")
    assert set(listed["keys"]) == {intermediate.id, authority.core.issuers.named("root").id}
    assert listed["key_info"][intermediate.id]["is_default"] is True
    assert listed["key_info"][intermediate.id]["issuer_name"] == "intermediate"
    for reference in ("default", "intermediate", intermediate.id):
        found = data(_read(authority, "read_issuer", reference=reference))
        assert found["issuer_id"] == intermediate.id
        assert certificate(found) == intermediate.certificate
        assert len(found["ca_chain"]) == 2
        raw = _raw(_read(authority, "read_issuer_der", reference=reference))[1]
        assert x509.load_der_x509_certificate(raw) == intermediate.certificate
        assert x509.load_pem_x509_certificate(_raw(_read(authority, "read_issuer_pem", reference=reference))[1])
    with pytest.raises(NotFound):
        _read(authority, "read_issuer", reference="elsewhere")


def test_serial_numbers_are_listed_with_those_of_cas(authority: Authority) -> None:
    """CA40: every certificate that exists; a list that goes on says how."""
    mine = [_serial(authority) for _ in range(3)]
    listed = data(_read(authority, "list_certificates"))["keys"]
    assert set(mine) < set(listed)
    assert len(listed) == 5
    reply = authority.engine.list_certificates(authority.caller.call("certs", limit="2"), NOTHING)
    first = data(reply)["keys"]
    assert f"limit=2&after={first[-1]}" in reply.warnings[0]
    rest = authority.engine.list_certificates(authority.caller.call("certs", after=first[-1]), NOTHING)
    assert first + list(data(rest)["keys"]) == listed
    assert list(rest.warnings) == []


def test_the_detailed_list_is_filtered_and_paged(authority: Authority, house_clock: FrozenClock) -> None:
    """`cert list`: by state, kind, role, requester, name and expiry, the newest first."""
    authority.role("long", **WEB, ttl="240h")
    found = []
    for name, role in (("a.example", "web"), ("x.a.example", "web"), ("y.a.example", "long")):
        house_clock.advance(timedelta(seconds=1))
        found.append(_serial(authority, name, role=role))
    first, second, third = found
    authority.revoke(serial_number=second)
    leaves = {"kind": "leaf"}
    assert authority.detailed(**leaves) == [third, second, first]
    assert authority.detailed(state="revoked") == [second]
    assert authority.detailed(state="issued,revoked", **leaves) == [third, second, first]
    assert authority.detailed(role="long") == [third]
    assert authority.detailed(name="x.a.example") == [second]
    assert authority.detailed(name=".a.example") == []
    assert authority.detailed(name="%") == []
    assert authority.detailed(requester="alice (accessor1)") == [third, second, first]
    assert authority.detailed(requester="bob") == []
    assert authority.detailed(expires_within="48h", **leaves) == [second, first]
    assert authority.detailed(limit="2", **leaves) == [third, second]
    assert authority.detailed(limit="2", after=second, **leaves) == [first]
    assert authority.detailed(after=first, **leaves) == []
    house_clock.advance(timedelta(days=2))
    assert authority.detailed(expires_within="300h", **leaves) == [third]


@pytest.mark.parametrize(
    "query",
    [
        {"stat": "revoked"},
        {"state": "good"},
        {"kind": ""},
        {"limit": "ten"},
        {"limit": "9" * 50},
        {"after": "x"},
        {"expires_within": "soon"},
        {"expires_within": "-1h"},
    ],
)
def test_a_query_that_means_nothing_is_refused(authority: Authority, query: dict[str, str]) -> None:
    """A misspelt filter would list everything."""
    with pytest.raises(Malformed):
        authority.detailed(**query)


def test_a_page_behind_nothing_is_absent(authority: Authority) -> None:
    """A list goes on behind a certificate that there is."""
    with pytest.raises(NotFound):
        authority.detailed(after="12:34")


def test_a_revoked_certificate_is_on_the_crl_that_openssl_checks(authority: Authority, tmp_path: Path) -> None:
    """Issue 4 (4): revoke, publish, and `openssl verify -crl_check` refuses it."""
    good, bad = (data(authority.sign(csr("a.example"))) for _ in range(2))
    at = authority.core.clock.now()
    answer = authority.revoke(serial_number=bad["serial_number"], reason="superseded")
    assert answer["revocation_time"] == int(at.timestamp())
    assert answer["revocation_time_rfc3339"].endswith("Z")
    authority.core.crls.publish_due()
    (tmp_path / "crl.pem").write_bytes(_raw(_read(authority, "read_crl_pem"))[1])
    (tmp_path / "chain.pem").write_text("\n".join(good["ca_chain"]) + "\n")
    for found, verdict in ((good, 0), (bad, 2)):
        (tmp_path / "leaf.pem").write_text(found["certificate"] + "\n")
        command = ["openssl", "verify", "-crl_check", "-CRLfile", "crl.pem", "-CAfile", "chain.pem", "leaf.pem"]
        done = subprocess.run(command, cwd=tmp_path, capture_output=True, text=True, check=False)
        assert done.returncode == verdict, done.stdout + done.stderr
    read = data(_read(authority, "read_certificate", serial=bad["serial_number"]))
    assert read["revocation_time"] == answer["revocation_time"]


def test_to_revoke_again_does_no_harm_and_changes_no_reason(authority: Authority, house_clock: FrozenClock) -> None:
    """A retry after a lost answer gets the same answer; another reason is a conflict."""
    serial = _serial(authority)
    first = authority.revoke(serial_number=serial)
    call = f"request-{authority.caller.calls}"
    assert authority.events(call) == {"pki.act": "alice (accessor1)"}
    house_clock.advance(timedelta(hours=1))
    assert authority.revoke(serial_number=serial) == first
    with pytest.raises(Conflict, match="already revoked"):
        authority.revoke(serial_number=serial, reason="keyCompromise")


def test_a_forged_certificate_with_a_stored_serial_revokes_nothing(authority: Authority) -> None:
    """X11: bytes are compared, not serial numbers."""
    real = certificate(authority.sign(csr("a.example")))
    key = ec.generate_private_key(ec.SECP256R1())
    builder = x509.CertificateBuilder(
        real.issuer,
        real.subject,
        real.public_key(),
        real.serial_number,
        real.not_valid_before_utc,
        real.not_valid_after_utc,
    )
    forged = builder.sign(key, hashes.SHA256())
    with pytest.raises(NotFound, match="was not issued here"):
        authority.revoke(certificate=forged.public_bytes(Encoding.PEM).decode())
    assert authority.detailed(state="revoked") == []
    authority.revoke(certificate=real.public_bytes(Encoding.PEM).decode(), reason=1)
    assert len(authority.detailed(state="revoked")) == 1
    with pytest.raises(Rejected, match="compromised"):
        authority.sign(csr("a.example"))


@pytest.mark.parametrize(
    ("body", "error"),
    [
        ({}, Rejected),
        ({"serial_number": "12", "certificate": "x"}, Rejected),
        ({"certificate": "x"}, Rejected),
        ({"serial_number": "x"}, Malformed),
        ({"serial_number": "12:34"}, NotFound),
        ({"serial_number": "12:34", "reason": "because"}, Rejected),
        ({"serial_number": "12:34", "reason": 6}, Rejected),
        ({"serial_number": "12:34", "reason": "-1"}, Rejected),
        ({"serial_number": "12:34", "reason": "\N{ARABIC-INDIC DIGIT ONE}"}, Rejected),
    ],
)
def test_a_revocation_names_one_certificate_and_a_reason(
    authority: Authority, body: Any, error: type[Exception]
) -> None:
    """X11: a reason off the list, or anything but one certificate, is refused."""
    with pytest.raises(error):
        authority.revoke(**body)


def test_certificates_of_the_authority_itself_are_not_revoked_here(authority: Authority) -> None:
    """A CA is the operator's to revoke."""
    serial = f"{authority.core.issuers.named('intermediate').certificate.serial_number:x}"
    with pytest.raises(Rejected, match="authority itself"):
        authority.revoke(serial_number=serial)


def test_what_was_never_issued_is_not_read(authority: Authority) -> None:
    """A reservation has a serial number and no certificate: the ledger's readers see it, nobody else does."""
    authority.core.hsm.close()
    with pytest.raises(Exception, match="HSM"):
        authority.sign(csr("a.example"))
    serial = authority.detailed(state="abandoned")[0]
    with pytest.raises(NotFound):
        _read(authority, "read_certificate", serial=serial)
    known = data(_read(authority, "read_certificate_detailed", serial=serial))
    assert known["state"] == "abandoned"
    assert "certificate" not in known
    with pytest.raises(NotFound):
        authority.revoke(serial_number=serial)
    assert serial not in data(_read(authority, "list_certificates"))["keys"]


def test_the_crl_pointer_in_a_certificate_is_the_issuer_s(authority: Authority) -> None:
    """S9: what is issued here can be checked by whoever follows its own pointer."""
    found = certificate(authority.sign(csr("a.example")))
    points: Any = found.extensions.get_extension_for_oid(ExtensionOID.CRL_DISTRIBUTION_POINTS).value
    assert authority.core.issuers.named("intermediate").id in points[0].full_name[0].value
