"""Every builder of cryptography's takes a key in the token for a native one, and what it makes verifies elsewhere."""

import subprocess
from datetime import timedelta
from pathlib import Path

import pytest
from cryptography import x509
from cryptography.exceptions import InvalidSignature
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.serialization import pkcs7
from cryptography.x509 import ocsp

from hsm import Hsm, TokenEd25519Key, TokenKey
from tests.hsm.certificates import (
    LEAF_KEY,
    NOW,
    crl,
    hash_for,
    leaf_certificate,
    name,
    root_certificate,
    schemes,
)
from tests.hsm.test_keys import SIGNING, Keys

AT = str(int(NOW.timestamp()))
PEM = serialization.Encoding.PEM
DER = serialization.Encoding.DER


@pytest.fixture(params=SIGNING)
def ca_key(request: pytest.FixtureRequest, keyed_hsm: Hsm, key_ids: Keys) -> TokenKey:
    """The shared token's key, of each algorithm in turn."""
    return keyed_hsm.signing_key(key_ids[request.param])


def run(*command: str) -> subprocess.CompletedProcess[str]:
    """Run a program and return what it said."""
    return subprocess.run(command, capture_output=True, text=True, timeout=30, check=False)


def test_a_request_is_signed_in_the_token(ca_key: TokenKey) -> None:
    """CA02: CertificateSigningRequestBuilder, with each padding."""
    for scheme in schemes(ca_key):
        builder = x509.CertificateSigningRequestBuilder().subject_name(name("root"))
        request = builder.sign(ca_key, hash_for(ca_key), rsa_padding=scheme)
        assert request.is_signature_valid
        assert request.public_key() == ca_key.public_key()


def test_a_certificate_is_signed_in_the_token(ca_key: TokenKey) -> None:
    """CA02: CertificateBuilder, self-signed and for another; a wrong issuer's key does not verify it."""
    for scheme in schemes(ca_key):
        root, leaf = root_certificate(ca_key, scheme), leaf_certificate(ca_key, scheme=scheme)
        root.verify_directly_issued_by(root)
        leaf.verify_directly_issued_by(root)
        with pytest.raises((InvalidSignature, ValueError, TypeError)):
            root.verify_directly_issued_by(leaf)


def test_a_crl_is_signed_in_the_token(ca_key: TokenKey) -> None:
    """CA02: CertificateRevocationListBuilder, with each padding."""
    for scheme in schemes(ca_key):
        made = crl(ca_key, 7, scheme=scheme)
        assert made.is_signature_valid(ca_key.public_key())
        assert made.get_revoked_certificate_by_serial_number(7) is not None


def test_an_ocsp_answer_is_signed_in_the_token(ca_key: TokenKey, tmp_path: Path) -> None:
    """CA02: OCSPResponseBuilder; openssl verifies the answer with the root."""
    root, leaf = root_certificate(ca_key), leaf_certificate(ca_key)
    builder = ocsp.OCSPResponseBuilder().add_response(
        leaf,
        root,
        hashes.SHA256(),
        ocsp.OCSPCertStatus.GOOD,
        NOW - timedelta(hours=1),
        NOW + timedelta(hours=1),
        None,
        None,
    )
    answer = builder.responder_id(ocsp.OCSPResponderEncoding.HASH, root).sign(ca_key, hash_for(ca_key))
    files = {"root.pem": root.public_bytes(PEM), "answer.der": answer.public_bytes(DER)}
    for file, content in files.items():
        (tmp_path / file).write_bytes(content)
    ca_file = str(tmp_path / "root.pem")
    said = run(
        *("openssl", "ocsp", "-respin", str(tmp_path / "answer.der"), "-CAfile", ca_file, "-VAfile", ca_file),
        *("-attime", AT, "-no_nonce"),
    )
    assert "Response verify OK" in said.stderr + said.stdout, said


def test_an_ssh_certificate_is_signed_in_the_token(ca_key: TokenKey) -> None:
    """CA02: SSHCertificateBuilder takes every kind of key, and the certificate's own signature verifies."""
    builder = (
        serialization.SSHCertificateBuilder()
        .public_key(LEAF_KEY.public_key())
        .serial(9)
        .type(serialization.SSHCertificateType.USER)
        .key_id(b"somebody")
        .valid_principals([b"somebody"])
        .valid_after(int(NOW.timestamp()) - 60)
        .valid_before(int(NOW.timestamp()) + 60)
    )
    made = builder.sign(ca_key)
    made.verify_cert_signature()
    assert made.signature_key() == ca_key.public_key()


def test_a_cms_message_is_signed_in_the_token(ca_key: TokenKey, tmp_path: Path) -> None:
    """CA02: PKCS7SignatureBuilder takes RSA and EC keys; openssl verifies. Ed25519 it refuses by itself."""
    root = root_certificate(ca_key)
    builder = pkcs7.PKCS7SignatureBuilder().set_data(b"content")
    algorithm = hash_for(ca_key)
    if isinstance(ca_key, TokenEd25519Key) or algorithm is None:
        with pytest.raises(TypeError, match="RSA & EC"):
            builder.add_signer(root, ca_key, hashes.SHA256())  # type: ignore[arg-type]  # the refused case
        return
    made = builder.add_signer(root, ca_key, algorithm).sign(DER, [pkcs7.PKCS7Options.Binary])
    (tmp_path / "message.der").write_bytes(made)
    (tmp_path / "root.pem").write_bytes(root.public_bytes(PEM))
    said = run(
        *("openssl", "cms", "-verify", "-binary", "-inform", "DER", "-in", str(tmp_path / "message.der")),
        *("-CAfile", str(tmp_path / "root.pem"), "-purpose", "any", "-attime", AT),
    )
    assert (said.returncode, said.stdout) == (0, "content"), said.stderr


@pytest.fixture
def chain(ca_key: TokenKey, tmp_path: Path) -> list[Path]:
    """Folders with root.pem, leaf.pem, revoked.pem and crl.pem, one for each padding that goes with the key."""
    folders = []
    for number, scheme in enumerate(schemes(ca_key)):
        folder = tmp_path / str(number)
        folder.mkdir()
        made: dict[str, x509.Certificate | x509.CertificateRevocationList] = {
            "root.pem": root_certificate(ca_key, scheme),
            "leaf.pem": leaf_certificate(ca_key, 2, scheme),
            "revoked.pem": leaf_certificate(ca_key, 3, scheme),
            "crl.pem": crl(ca_key, 3, scheme=scheme),
        }
        for file, item in made.items():
            (folder / file).write_bytes(item.public_bytes(PEM))
        folders.append(folder)
    return folders


def test_openssl_verifies_root_leaf_and_crl(chain: list[Path]) -> None:
    """CA02: `openssl verify` with the CRL takes the leaf and refuses the revoked one; an altered leaf fails."""
    for folder in chain:
        check = ["openssl", "verify", "-x509_strict", "-check_ss_sig", "-attime", AT]
        check += ["-CAfile", str(folder / "root.pem"), "-CRLfile", str(folder / "crl.pem"), "-crl_check"]
        said = run(*check, str(folder / "leaf.pem"))
        assert said.returncode == 0, said.stdout + said.stderr
        assert "revoked" in run(*check, str(folder / "revoked.pem")).stderr
        altered = x509.load_pem_x509_certificate((folder / "leaf.pem").read_bytes()).public_bytes(DER)
        (folder / "altered.der").write_bytes(altered.replace(b"leaf.example", b"evil.example"))
        assert run(*check, str(folder / "altered.der")).returncode != 0


def test_certtool_verifies_root_leaf_and_crl(chain: list[Path]) -> None:
    """CA02: GnuTLS, another implementation than the one that encoded it, verifies chain and CRL."""
    for folder in chain:
        ca_file = str(folder / "root.pem")
        (folder / "chain.pem").write_bytes((folder / "leaf.pem").read_bytes() + (folder / "root.pem").read_bytes())
        said = run("certtool", "--verify", "--load-ca-certificate", ca_file, "--infile", str(folder / "chain.pem"))
        assert "Chain verification output: Verified. The certificate is trusted." in said.stdout, said
        said = run("certtool", "--verify-crl", "--load-ca-certificate", ca_file, "--infile", str(folder / "crl.pem"))
        assert "Verification output: Verified." in said.stdout, said
