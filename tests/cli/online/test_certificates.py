"""CA55: a named administrator issues, signs, lists, shows and revokes certificates, and the log tells who did."""

import subprocess
import time
import urllib.request
from pathlib import Path

import pytest
from cryptography import x509
from cryptography.hazmat.primitives.serialization import Encoding, load_pem_private_key

from tests.cli.online.people import Person, hire, person_of
from tests.service import Service

POLICY = """
path "pki/sign/*" { capabilities = ["update"] }
path "pki/certs/*" { capabilities = ["read", "list"] }
path "pki/revoke" { capabilities = ["update"] }
path "pki/roles/*" { capabilities = ["create", "read", "update", "list", "delete"] }
path "sys/log/events" { capabilities = ["read"] }
"""
READER = 'path "pki/certs/*" { capabilities = ["read", "list"] }'


@pytest.fixture(scope="module")
def alice(administrator: Person, service: Service, tmp_path_factory: pytest.TempPathFactory) -> Person:
    """An administrator of certificates, by name."""
    alice = person_of(service, tmp_path_factory.mktemp("people") / "alice")
    hire(administrator, alice, "alice", POLICY)
    alice.does("profile", "set", "web", "allowed_domains=example.com", "allow_subdomains=true", "ttl=2h")
    return alice


@pytest.fixture
def reader(administrator: Person, somebody: Person) -> Person:
    """One who may look at certificates, and nothing else."""
    return hire(administrator, somebody, "reader", READER)


def certificates(path: Path) -> list[x509.Certificate]:
    """Return the certificates in a file."""
    return x509.load_pem_x509_certificates(path.read_bytes())


def verify(person: Person, service: Service, chain: Path, *options: str | Path) -> subprocess.CompletedProcess[str]:
    """Return openssl's verdict on the first certificate of a file."""
    words = ("openssl", "verify", "-x509_strict", "-CAfile", service.ca_file, "-untrusted", chain, *options, chain)
    return subprocess.run(
        [*map(str, words)], capture_output=True, text=True, check=False, cwd=person.folder, timeout=20
    )


def crl_of(certificate: x509.Certificate, folder: Path) -> Path:
    """Fetch the CRL that the certificate names, over plain HTTP; return the file, in PEM."""
    points = certificate.extensions.get_extension_for_class(x509.CRLDistributionPoints).value
    url = points[0].full_name[0].value
    assert url.startswith("http://")
    with urllib.request.urlopen(url, timeout=10) as answer:  # noqa: S310 - as asserted above
        crl = x509.load_der_x509_crl(answer.read())
    path = folder / "crl.pem"
    path.write_bytes(crl.public_bytes(Encoding.PEM))
    return path


def test_issued_certificate_has_a_key_made_here(alice: Person, service: Service) -> None:
    """CA55: OUT.key is for its owner alone and fits OUT.pem, a chain without its root that openssl accepts."""
    made = alice.sees("cert", "issue", "web", "a.example.com", "b.example.com")
    key_file, chain = alice.folder / "a.example.com.key", alice.folder / "a.example.com.pem"
    assert (made["private_key"], made["certificate"]) == (key_file.name, chain.name)
    assert key_file.stat().st_mode & 0o777 == 0o600
    leaf, *above = certificates(chain)
    assert load_pem_private_key(key_file.read_bytes(), None).public_key() == leaf.public_key()
    assert above
    assert all(item.subject != item.issuer for item in above)
    assert leaf.extensions.get_extension_for_class(x509.SubjectAlternativeName).value.get_values_for_type(
        x509.DNSName
    ) == ["a.example.com", "b.example.com"]
    verdict = verify(alice, service, chain)
    assert verdict.returncode == 0, verdict.stderr


def test_certificate_lives_as_long_as_its_profile_says(alice: Person) -> None:
    """`profile set` then issue: the lifetime is the profile's, and --ttl may only shorten it."""
    alice.does("profile", "set", "short", "allowed_domains=example.com", "allow_subdomains=true", "ttl=30m")
    assert alice.sees("profile", "show", "short")["ttl"] == 1800
    for out, options, minutes in (("whole", (), 30), ("part", ("--ttl", "10m"), 10)):
        alice.does("cert", "issue", "short", "s.example.com", "--out", out, *options)
        leaf = certificates(alice.folder / f"{out}.pem")[0]
        life = (leaf.not_valid_after_utc - leaf.not_valid_before_utc).total_seconds()
        assert minutes * 60 - 61 <= life <= minutes * 60


def test_profile_that_is_shown_can_be_set(alice: Person) -> None:
    """What `profile show` prints is what `profile set --file` takes; `profile delete` ends it."""
    for form in ("yaml", "json"):
        text = alice.does("profile", "show", "web", "--output", form)
        alice.does("profile", "set", "copy", "--file", "-", typed=text)
        first, second = (alice.sees("profile", "show", name) for name in ("web", "copy"))
        assert {**first, "version": 0} == {**second, "version": 0}
    assert {"web", "copy"} <= set(alice.does("profile", "list").split())
    alice.does("profile", "delete", "copy")
    assert "copy" not in alice.does("profile", "list").split()
    assert "copy" in alice.fails(5, "profile", "show", "copy")


def test_profile_is_written_only_over_the_version_that_was_read(alice: Person) -> None:
    """--cas 0 is for a new one alone: 6 when somebody was first."""
    alice.does("profile", "set", "first", "allowed_domains=a.example", "--cas", "0")
    alice.fails(6, "profile", "set", "first", "allowed_domains=b.example", "--cas", "0")
    assert alice.does("profile", "show", "first", "--field", "allowed_domains").strip() == '[\n  "a.example"\n]'


def test_request_made_elsewhere_is_signed(alice: Person) -> None:
    """`cert sign` takes a CSR from a file or standard input, and answers with the chain."""
    words = "req -newkey ec -pkeyopt ec_paramgen_curve:P-256 -nodes -keyout c.key -out c.csr -subj /CN=c.example.com"
    subprocess.run(["openssl", *words.split()], check=True, capture_output=True, cwd=alice.folder)
    printed = alice.does("cert", "sign", "web", "c.csr")
    assert printed.count("BEGIN CERTIFICATE") == 2
    typed = (alice.folder / "c.csr").read_text()
    assert alice.does("cert", "sign", "web", "-", "--out", "c.pem", typed=typed) == ""
    assert certificates(alice.folder / "c.pem")[0].public_key() == x509.load_pem_x509_csr(typed.encode()).public_key()
    assert "private key" in alice.fails(2, "cert", "sign", "web", "c.key")


def test_issued_certificates_are_listed_and_shown(alice: Person) -> None:
    """CA55: a list says of each who asked for it; filters narrow it, and `show` has the certificate itself."""
    serial = alice.sees("cert", "issue", "web", "listed.example.com")["serial_number"]
    (found,) = alice.sees("cert", "list", "--name", "listed.example.com", "--state", "issued")
    assert (found["serial_number"], found["role"], found["names"]) == (serial, "web", ["dns:listed.example.com"])
    assert "alice" in found["requester"]
    assert alice.sees("cert", "list", "--name", "absent.example.com") == []
    assert alice.does("cert", "list", "--limit", "1").splitlines()[0].startswith("SERIAL_NUMBER")
    assert alice.sees("cert", "show", serial)["state"] == "issued"
    pem = alice.does("cert", "show", serial, "--pem")
    assert x509.load_pem_x509_certificate(pem.encode()) == certificates(alice.folder / "listed.example.com.pem")[0]
    alice.fails(5, "cert", "show", "00:11:22")
    assert "no filter" not in alice.fails(1, "cert", "list", "--state", "nonsense")


def test_revoked_certificate_is_refused_within_a_second(alice: Person, service: Service) -> None:
    """CA55: one second after `cert revoke` returned, openssl refuses by the CRL that the certificate names."""
    alice.does("cert", "issue", "web", "gone.example.com")
    chain = alice.folder / "gone.example.com.pem"
    leaf = certificates(chain)[0]
    good = verify(alice, service, chain, "-crl_check", "-CRLfile", crl_of(leaf, alice.folder))
    assert good.returncode == 0, good.stderr
    revoked = alice.sees("cert", "revoke", f"{leaf.serial_number:x}", "--reason", "keyCompromise")
    returned = time.monotonic()
    assert revoked["state"] == "revoked"
    verdict = good
    while "certificate revoked" not in verdict.stderr and time.monotonic() < returned + 5:
        verdict = verify(alice, service, chain, "-crl_check", "-CRLfile", crl_of(leaf, alice.folder))
    assert verdict.returncode != 0
    assert time.monotonic() - returned < 1.0
    (found,) = alice.sees("cert", "list", "--name", "gone.example.com")
    assert (found["state"], found["revocation_reason"]) == ("revoked", "keyCompromise")


def test_certificate_is_revoked_by_its_file(alice: Person) -> None:
    """`--file` takes the file that `issue` wrote, chain and all; another reason afterwards is a conflict: 6."""
    alice.does("cert", "issue", "web", "file.example.com")
    alice.does("cert", "revoke", "--file", "file.example.com.pem", "--reason", "superseded")
    alice.does("cert", "revoke", "--file", "file.example.com.pem", "--reason", "superseded")
    line = alice.fails(6, "cert", "revoke", "--file", "file.example.com.pem", "--reason", "keyCompromise")
    assert "already revoked" in line
    alice.fails(2, "cert", "revoke")
    alice.fails(2, "cert", "revoke", "--file", "file.example.com.key")
    alice.fails(5, "cert", "revoke", "00:11:22")


def test_without_the_right_nothing_is_signed(administrator: Person, alice: Person, reader: Person) -> None:
    """CA55: 4 for denied, the ledger is as it was, no file is written, and the log says who tried."""
    before = administrator.sees("cert", "list", "--limit", "1000")
    line = reader.fails(4, "cert", "issue", "web", "denied.example.com")
    assert "permission denied" in line
    assert "update on pki/sign/web" in line
    serial = before[0]["serial_number"]
    reader.fails(4, "cert", "revoke", serial)
    reader.fails(4, "profile", "set", "web", "allow_any_name=true")
    assert administrator.sees("cert", "list", "--limit", "1000") == before
    assert [path.name for path in reader.folder.iterdir() if path.suffix in {".key", ".pem"}] == []
    (event,) = alice.sees("audit", "list", "--actor", "token-reader", "--object", "pki/sign/web")
    assert (event["action"], event["outcome"]) == ("pki.sign", "denied")


def test_name_that_the_profile_forbids_is_a_failure(alice: Person) -> None:
    """A refusal by the profile is no lack of a right: 1, with the name, and nothing written."""
    line = alice.fails(1, "cert", "issue", "web", "evil.example.net")
    assert "evil.example.net" in line
    assert not (alice.folder / "evil.example.net.key").exists()
    assert "xn--" in alice.fails(2, "cert", "issue", "web", "b\u00fccher.example.com")
    alice.fails(5, "cert", "issue", "absent", "d.example.com")


def test_key_is_not_written_over_unasked(alice: Person) -> None:
    """A second `issue` keeps the key that is there: 2 before anything is signed; --replace renews both."""
    alice.does("cert", "issue", "web", "kept.example.com")
    first = (alice.folder / "kept.example.com.key").read_bytes()
    before = alice.sees("cert", "list", "--name", "kept.example.com")
    assert len(before) == 1
    assert "exists" in alice.fails(2, "cert", "issue", "web", "kept.example.com")
    assert "no folder" in alice.fails(2, "cert", "issue", "web", "kept.example.com", "--out", "absent/kept")
    assert alice.sees("cert", "list", "--name", "kept.example.com") == before
    assert (alice.folder / "kept.example.com.key").read_bytes() == first
    alice.does("cert", "issue", "web", "kept.example.com", "--replace")
    assert (alice.folder / "kept.example.com.key").read_bytes() != first


def test_log_tells_who_issued_and_who_revoked(alice: Person) -> None:
    """CA55: each act stands in the log with the name of the administrator whose token it was."""
    alice.does("cert", "issue", "web", "told.example.com")
    alice.does("cert", "revoke", "--file", "told.example.com.pem")
    events = alice.sees("audit", "list", "--actor", "token-alice", "--since", "1m", "--limit", "1000")
    done = [(event["action"], event["object"], event["outcome"]) for event in events]
    assert ("pki.sign", "pki/sign/web", "success") in done
    assert ("pki.revoke", "pki/revoke", "success") in done
