"""The pki engine: certificates by CSR and with a key made for the caller, as clients of the Vault HTTP API ask."""

import base64
import logging
import subprocess
from concurrent.futures import ThreadPoolExecutor
from datetime import timedelta
from pathlib import Path

import pytest
from cryptography import x509
from cryptography.hazmat.primitives.asymmetric import ec, ed25519, rsa
from cryptography.hazmat.primitives.serialization import Encoding, load_der_private_key, load_pem_private_key
from cryptography.x509.oid import ExtendedKeyUsageOID, NameOID
from sqlalchemy import Table, select

from pki.engines.pki.wishes import SignBody
from pki.errors import HsmFailure, NotFound, Rejected
from pki.storage.tables import metadata
from tests.clocks import FrozenClock
from tests.pki.engines.pki_house import KEY, WEB, Authority, authority, certificate, csr, data, names_in

__all__ = ["authority"]


def test_what_cert_manager_sends_is_signed_and_its_chain_verifies(authority: Authority, tmp_path: Path) -> None:
    """CA40 S1-S6: an all-string body; certificate, issuing_ca and ca_chain build a chain in OpenSSL."""
    authority.role(**WEB, allow_ip_sans=True, allowed_uri_sans="spiffe://a.example/*")
    reply = authority.sign(
        csr("www.a.example", "10.0.0.1", "spiffe://a.example/web", common_name="a.example"),
        common_name="a.example",
        alt_names="www.a.example,a.example",
        ip_sans="10.0.0.1",
        uri_sans="spiffe://a.example/web",
        ttl="2160h0m0s",
        exclude_cn_from_sans="false",
    )
    found = data(reply)
    assert certificate(reply).public_key() == KEY.public_key()
    assert found["issuing_ca"] == found["ca_chain"][0]
    assert isinstance(found["expiration"], int)
    assert found["serial_number"].replace(":", "") == f"{certificate(reply).serial_number:x}"
    assert "cut to 86400 s" in reply.warnings[0]
    (tmp_path / "leaf.pem").write_text(found["certificate"] + "\n")
    (tmp_path / "chain.pem").write_text("\n".join(found["ca_chain"][:-1]) + "\n")
    (tmp_path / "root.pem").write_text(found["ca_chain"][-1] + "\n")
    command = ["openssl", "verify", "-x509_strict", "-purpose", "sslserver", "-CAfile", "root.pem", "-untrusted"]
    command += ["chain.pem", "-verify_hostname", "www.a.example", "leaf.pem"]
    done = subprocess.run(command, cwd=tmp_path, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stdout + done.stderr


def test_an_excluded_common_name_must_be_among_the_alternative_names(authority: Authority) -> None:
    """S4: cert-manager always sends exclude_cn_from_sans; a name in the subject alone is refused, not dropped."""
    both = csr("a.example", "www.a.example", common_name="a.example")
    reply = authority.sign(both, common_name="a.example", alt_names="a.example", exclude_cn_from_sans="true")
    assert names_in(certificate(reply)) == ["a.example", "www.a.example"]
    for request in (csr("www.a.example", common_name="a.example"), csr(common_name="a.example")):
        with pytest.raises(Rejected, match="always among the alternative names"):
            authority.sign(request, exclude_cn_from_sans="true")
    with pytest.raises(Rejected, match="always among the alternative names"):
        authority.issue(common_name="a.example", alt_names="www.a.example", exclude_cn_from_sans=True)


def test_what_ansible_sends_empty_is_taken_for_nothing(authority: Authority) -> None:
    """CA40: format, private_key_format and four lists are sent whether or not they were set."""
    reply = authority.issue(
        common_name="www.a.example",
        alt_names="",
        ip_sans="",
        uri_sans="",
        other_sans="",
        ttl="",
        format="pem",
        private_key_format="der",
        exclude_cn_from_sans=False,
    )
    found = data(reply)
    key = load_pem_private_key(found["private_key"].encode(), None)
    assert isinstance(key, ec.EllipticCurvePrivateKey)
    assert key.curve.name == "secp256r1"
    assert key.public_key() == certificate(reply).public_key()
    assert found["private_key_type"] == "ec"
    assert found["private_key"].startswith("-----BEGIN EC PRIVATE KEY-----")
    assert certificate(reply).subject.get_attributes_for_oid(NameOID.COMMON_NAME)[0].value == "www.a.example"


@pytest.mark.parametrize(
    ("settings", "kind", "named"),
    [
        ({"key_type": "rsa", "key_bits": 3072}, rsa.RSAPrivateKey, "rsa"),
        ({"key_type": "ec", "key_bits": 384}, ec.EllipticCurvePrivateKey, "ec"),
        ({"key_type": "ed25519"}, ed25519.Ed25519PrivateKey, "ed25519"),
    ],
)
def test_the_role_says_what_kind_of_key_is_made(
    authority: Authority, settings: dict[str, object], kind: type, named: str
) -> None:
    """A key of the role's type and bits, in PKCS#8 where it is asked for."""
    authority.role(**WEB, **settings)
    found = data(authority.issue(common_name="a.example", private_key_format="pkcs8"))
    key = load_pem_private_key(found["private_key"].encode(), None)
    assert isinstance(key, kind)
    assert getattr(key, "key_size", None) == settings.get("key_bits")
    assert found["private_key"].startswith("-----BEGIN PRIVATE KEY-----")
    assert found["private_key_type"] == named


def test_formats_are_those_that_clients_know(authority: Authority) -> None:
    """CA40: der is base64 in each field; pem_bundle is key, certificate and chain, without the root."""
    der = data(authority.issue(common_name="a.example", format="der", private_key_format="pkcs8"))
    leaf = x509.load_der_x509_certificate(base64.b64decode(der["certificate"]))
    assert load_der_private_key(base64.b64decode(der["private_key"]), None).public_key() == leaf.public_key()
    assert [x509.load_der_x509_certificate(base64.b64decode(item)) for item in der["ca_chain"]]
    bundle = data(authority.issue(common_name="a.example", format="pem_bundle", remove_roots_from_chain=True))
    assert bundle["certificate"].startswith(bundle["private_key"] + "\n-----BEGIN CERTIFICATE-----")
    assert bundle["certificate"].endswith(bundle["ca_chain"][-1])
    assert len(bundle["ca_chain"]) == 1
    for wrong in ({"format": "p12"}, {"private_key_format": "jks"}):
        with pytest.raises(Rejected, match="format"):
            authority.issue(common_name="a.example", **wrong)


def test_a_made_key_is_kept_nowhere(authority: Authority, caplog: pytest.LogCaptureFixture) -> None:
    """L1: neither a table nor a log line holds it."""
    caplog.set_level(logging.DEBUG)
    found = data(authority.issue(common_name="a.example", format="der"))
    secret = found["private_key"]
    scalar = load_der_private_key(base64.b64decode(secret), None).private_numbers().private_value  # type: ignore[union-attr]
    markers = [secret, f"{scalar:064x}", base64.b64encode(scalar.to_bytes(32)).decode(), str(scalar)]
    with authority.core.database.read() as tx:
        rows = [str(tuple(row)) for table in metadata.sorted_tables for row in tx.execute(_everything(table))]
    kept = "\n".join([*rows, caplog.text])
    assert [marker for marker in markers if marker in kept] == []
    assert scalar.to_bytes(32).hex() not in kept


def _everything(table: Table) -> object:
    return select(table)


@pytest.mark.parametrize(
    ("names", "common_name"),
    [
        (("b.example",), None),
        (("a.example", "b.example"), None),
        (("a.example",), "b.example"),
        (("a.example", "10.0.0.1"), None),
        (("a.example", "spiffe://a.example/x"), None),
        (("*.a.example",), None),
        (("a.example.b.example",), None),
        (("xa.example",), None),
    ],
)
def test_names_outside_the_role_are_refused_in_csr_and_parameters_alike(
    authority: Authority, names: tuple[str, ...], common_name: str | None
) -> None:
    """X2 X3, GHSA-g892: one evaluator on the final names, wherever they came from."""
    with pytest.raises(Rejected) as caught:
        authority.sign(csr(*names, common_name=common_name))
    assert caught.value.code == "rejectedIdentifier"
    parameters = {"alt_names": [name for name in names if "/" not in name and not name[0].isdigit()]}
    parameters |= {"ip_sans": [name for name in names if name[0].isdigit()]}
    parameters |= {"uri_sans": [name for name in names if "/" in name]}
    with pytest.raises(Rejected) as caught:
        authority.issue(**parameters, common_name=common_name or "")
    assert caught.value.code == "rejectedIdentifier"
    authority.role("blind", **WEB, use_csr_sans=False, use_csr_common_name=False)
    with pytest.raises(Rejected) as caught:
        authority.sign(csr(), role="blind", **parameters, common_name=common_name or "")
    assert caught.value.code == "rejectedIdentifier"
    assert authority.rows() == []


def test_parameters_add_no_name_to_those_of_the_csr(authority: Authority) -> None:
    """What a parameter asks for beyond the CSR is refused loudly: it would be left out, or smuggled in."""
    with pytest.raises(Rejected, match=r"dns:x\.a\.example, which the CSR does not"):
        authority.sign(csr("a.example"), alt_names="x.a.example")
    reply = authority.sign(csr("a.example", "b.a.example"), common_name="b.a.example")
    assert names_in(certificate(reply)) == ["b.a.example", "a.example"]


def test_a_csr_without_names_takes_those_of_the_parameters(authority: Authority) -> None:
    """As clients expect of a role that uses the CSR's names: where there are none, the parameters name them."""
    reply = authority.sign(csr(), common_name="A.example", alt_names="www.a.example")
    assert names_in(certificate(reply)) == ["a.example", "www.a.example"]
    with pytest.raises(Rejected, match="no name is asked for"):
        authority.sign(csr())


def test_a_role_may_leave_the_names_of_the_csr_unread(authority: Authority) -> None:
    """With use_csr_sans and use_csr_common_name false, the parameters alone name what is certified."""
    authority.role(**WEB, use_csr_sans=False, use_csr_common_name=False)
    reply = authority.sign(csr("evil.example", common_name="evil.example"), common_name="a.example")
    assert names_in(certificate(reply)) == ["a.example"]


def test_a_role_may_ask_for_a_common_name(authority: Authority) -> None:
    """`require_cn` is a restriction, and holds for CSR and parameters."""
    authority.role(**WEB, require_cn=True)
    with pytest.raises(Rejected, match="asks for a common name"):
        authority.sign(csr("a.example"))
    with pytest.raises(Rejected, match="asks for a common name"):
        authority.issue(alt_names="a.example")
    assert names_in(certificate(authority.sign(csr(common_name="a.example")))) == ["a.example"]


@pytest.mark.parametrize(
    "parameters",
    [
        {"other_sans": "1.3.6.1.4.1.311.20.2.3;utf8:me"},
        {"user_ids": "me"},
        {"serial_number": "12"},
        {"not_after": "2031-01-01T00:00:00Z"},
        {"not_before": "2031-01-01T00:00:00Z"},
        {"cert_metadata": "bWU="},
    ],
)
def test_wishes_that_cannot_be_met_are_refused_by_name(authority: Authority, parameters: dict[str, str]) -> None:
    """What this engine does not do is never left out of a certificate unnoticed."""
    with pytest.raises(Rejected, match=rf"{next(iter(parameters))} is not supported") as caught:
        authority.issue(common_name="a.example", **parameters)
    assert caught.value.advice


@pytest.mark.parametrize(
    "request_text",
    [
        "",
        "hello",
        "-----BEGIN CERTIFICATE REQUEST-----\n-----END CERTIFICATE REQUEST-----",
        "-----BEGIN CERTIFICATE REQUEST-----\nMII=\n-----END CERTIFICATE REQUEST-----",
        "-----BEGIN CERTIFICATE REQUEST-----\nA\n-----END CERTIFICATE REQUEST-----",
        csr("a.example").replace("CERTIFICATE REQUEST", "CERTIFICATE"),
        csr("a.example") * 2,
        csr("a.example") + "-----BEGIN PRIVATE KEY-----\nAAAA\n-----END PRIVATE KEY-----\n",
        csr("a.example")[:-60],
        "-----BEGIN CERTIFICATE REQUEST-----\n" * 20_000,
        "\x01" * 100_000,
        csr("a.example", common_name="fe80::1%eth0"),
        csr("a.example", common_name="*"),
        csr("a b.example"),
    ],
)
def test_hostile_requests_are_refused_and_sign_nothing(authority: Authority, request_text: str) -> None:
    """X1 X2 X5 D1: a text that is not one sound request is badCSR, never an error of the server."""
    with pytest.raises(Rejected) as caught:
        authority.sign(request_text)
    assert caught.value.code == "badCSR"
    assert authority.rows() == []


@pytest.mark.parametrize(
    ("field", "value"),
    [
        ("common_name", "a\x01.a.example"),
        ("common_name", "a" * 300 + ".a.example"),
        ("alt_names", "a,b.example,;"),
        ("alt_names", "10.0.0.1"),
        ("alt_names", "bo@é.example"),
        ("ip_sans", "10.0.0.0/8"),
        ("ip_sans", "fe80::1%eth0"),
        ("ip_sans", "01.2.3.4"),
        ("uri_sans", "spiffe://é.example/"),
        ("uri_sans", "no uri"),
        ("alt_names", [f"n{number}.a.example" for number in range(101)]),
    ],
)
def test_hostile_parameters_are_refused_and_sign_nothing(authority: Authority, field: str, value: object) -> None:
    """X2 D1: what is no name of its kind is badCSR."""
    with pytest.raises(Rejected):
        authority.issue(**{field: value})
    assert authority.rows() == []


def test_certificates_live_a_day_unless_the_role_says_more(authority: Authority, house_clock: FrozenClock) -> None:
    """CA56: longer only by the role's own ttl or max_ttl; a longer wish is cut, and the answer says so."""

    def life(role: str = "web", **parameters: object) -> int:
        reply = authority.sign(csr("a.example"), role=role, **parameters)
        found = certificate(reply)
        assert bool(reply.warnings) == (parameters.get("ttl") == "720h")
        return int((found.not_valid_after_utc - found.not_valid_before_utc).total_seconds()) + 1

    assert life() == 86_400
    assert life(ttl="720h") == 86_400
    assert life(ttl="90m") == 5_400
    authority.role("long", **WEB, max_ttl="240h")
    assert life("long") == 86_400
    assert life("long", ttl="240h") == 864_000
    authority.role("longer", **WEB, ttl="240h")
    assert life("longer", ttl="720h") == 864_000
    authority.role("short", **WEB, ttl="1h")
    assert life("short") == 3_600
    house_clock.advance(timedelta(hours=1))
    start = certificate(authority.sign(csr("a.example"))).not_valid_before_utc
    assert house_clock.now() - start == timedelta(minutes=1)
    with pytest.raises(Rejected, match="shorter than a second"):
        life(ttl="0.5s")


def test_uses_are_those_of_the_role(authority: Authority) -> None:
    """The flags and names of extended key usages are in the certificate, and nothing else is."""
    authority.role(**WEB, server_flag=False, code_signing_flag=True, ext_key_usage="EmailProtection,clientauth")
    usages = certificate(authority.sign(csr("a.example"))).extensions.get_extension_for_class(x509.ExtendedKeyUsage)
    assert set(usages.value) == {
        ExtendedKeyUsageOID.CLIENT_AUTH,
        ExtendedKeyUsageOID.CODE_SIGNING,
        ExtendedKeyUsageOID.EMAIL_PROTECTION,
    }


def test_keys_are_those_of_the_role(authority: Authority) -> None:
    """X4: another kind, and an RSA key shorter than the role's, are refused."""
    authority.role(**WEB, key_type="rsa", key_bits=3072)
    with pytest.raises(Rejected, match="keys of other kinds"):
        authority.sign(csr("a.example"))
    with pytest.raises(Rejected, match="longer RSA keys"):
        authority.sign(csr("a.example", key=rsa.generate_private_key(65537, 2048)))
    assert authority.sign(csr("a.example", key=rsa.generate_private_key(65537, 3072))).data


def test_a_role_serves_the_doors_it_names(authority: Authority) -> None:
    """A profile made for ACME alone, where names are proved, signs nothing here, where they are not."""
    authority.role("proved", **WEB, doors="acme")
    with pytest.raises(Rejected, match="does not serve this API") as caught:
        authority.sign(csr("a.example"), role="proved")
    assert caught.value.code == "unauthorized"
    with pytest.raises(NotFound):
        authority.issue("no such", common_name="a.example")
    assert "acme" not in authority.read_role()["doors"]


def test_who_asked_stands_in_the_ledger_and_in_every_event(authority: Authority) -> None:
    """D11, decision 6: requester, request id; the request's own event commits with the reservation."""
    authority.caller.recorded.clear()
    reply = authority.sign(csr("a.example"))
    request_id = f"request-{authority.caller.calls}"
    actor = "alice (accessor1)"
    events = {"certificate.reserve": actor, "certificate.issue": actor, "pki.act": actor}
    assert authority.events(request_id) == events
    entry = authority.core.revocation.find(certificate(reply).public_bytes(Encoding.DER))
    assert entry.requester == actor
    assert authority.caller.recorded == [{"object": "pki/sign/web", "certificate": entry.id, "role": "web"}]


def test_without_the_hsm_the_reservation_is_abandoned_and_a_retry_succeeds(authority: Authority) -> None:
    """K2: nobody comes back for what was not answered; the client asks anew, and that does no harm."""
    healthy = authority.core.hsm.sessions
    authority.core.hsm.sessions = type(healthy)(healthy._module, "no such token", "0000", 1, 0.1)
    with pytest.raises(HsmFailure):
        authority.sign(csr("a.example"))
    assert authority.rows() == ["abandoned"]
    abandoned = {"certificate.reserve", "certificate.abandon", "pki.act"}
    assert authority.events(f"request-{authority.caller.calls}").keys() == abandoned
    authority.core.hsm.sessions = healthy
    assert authority.core.reconciler.run() == 0
    first, again = (data(authority.sign(csr("a.example")))["serial_number"] for _ in range(2))
    assert first != again
    assert sorted(authority.rows()) == ["abandoned", "issued", "issued"]


def test_a_refusal_in_the_reserving_transaction_signs_nothing(authority: Authority) -> None:
    """Decision 13: where rights were withdrawn meanwhile, the pipeline refuses in that transaction, before the HSM."""

    def withdrawn(*_: object) -> None:
        raise Rejected("the rights were withdrawn", "unauthorized")

    call = authority.caller.call("sign/web")
    call.recorder = withdrawn
    with pytest.raises(Rejected, match="withdrawn"):
        authority.engine.sign(call, SignBody(csr=csr("a.example")), role="web")
    assert authority.rows() == []


def test_many_callers_get_certificates_of_their_own(authority: Authority) -> None:
    """X6: sixteen at once; every serial number is another."""
    text = csr("a.example")
    with ThreadPoolExecutor(8) as pool:
        replies = list(pool.map(lambda _: authority.sign(text), range(16)))
    assert len({data(reply)["serial_number"] for reply in replies}) == 16
