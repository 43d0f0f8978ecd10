"""Other vendors' tokens: a TPM's signs for a CA, and NSS's is refused, since it gives keys away (F06, K1)."""

import shutil
import subprocess
import time
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest
from cryptography import x509
from cryptography.hazmat.primitives import hashes
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.hazmat.primitives.serialization import Encoding
from cryptography.x509.oid import NameOID
from pkcs11.constants import MechanismFlag
from pkcs11.mechanisms import KeyType

from hsm import Hsm, HsmUnsupported, KeyAlgorithm, TokenECKey, softhsm
from hsm.lanes import Lane
from hsm.module import load_module
from hsm.probe import probe
from hsm.sessions import TokenSession
from hsm.templates import key_template, public_template
from tests.faults.shim import Shim

PIN, SO_PIN = "1234-user", "5678-officer"
ECDSA = ec.ECDSA(hashes.SHA256())


def installed(pattern: str, package: str) -> Path:
    """Return the module that a Debian package installs."""
    found = sorted(Path("/usr/lib").glob(pattern))
    if not found:
        pytest.skip(f"this token needs {package}: apt install {package}")
    return found[0]


@pytest.fixture
def tpm(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Path]:
    """Give the module of tpm2-pkcs11, before a TPM of swtpm's, with a token made through the module itself."""
    module = installed("*/pkcs11/libtpm2_pkcs11.so", "libtpm2-pkcs11-1")
    if shutil.which("swtpm") is None:
        pytest.skip("a TPM in software needs swtpm: apt install swtpm")
    state, socket = tmp_path / "tpm", tmp_path / "socket"
    state.mkdir()
    monkeypatch.setenv("TPM2_PKCS11_STORE", str(tmp_path))
    monkeypatch.setenv("TPM2_PKCS11_TCTI", f"swtpm:path={socket}")
    monkeypatch.setenv("TPM2_PKCS11_LOG_LEVEL", "0")
    monkeypatch.setenv("TSS2_LOG", "all+NONE")
    channels = ("--server", f"type=unixio,path={socket}", "--ctrl", f"type=unixio,path={socket}.ctrl")
    flags = ("--flags", "not-need-init,startup-clear")
    process = subprocess.Popen(["swtpm", "socket", "--tpm2", "--tpmstate", f"dir={state}", *channels, *flags])
    try:
        while not socket.exists():
            assert process.poll() is None
            time.sleep(0.01)
        softhsm.init_token(module, "tpm", SO_PIN, PIN)
        yield module
    finally:
        process.terminate()
        process.wait(10)


def make_ca(key: TokenECKey) -> x509.Certificate:
    """Sign a self-signed CA certificate in the token."""
    name = x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, "Root in a TPM")])
    now = datetime.now(UTC)
    builder = x509.CertificateBuilder().subject_name(name).issuer_name(name).public_key(key.public_key())
    builder = builder.serial_number(x509.random_serial_number())
    builder = builder.not_valid_before(now - timedelta(minutes=1)).not_valid_after(now + timedelta(days=1))
    return builder.add_extension(x509.BasicConstraints(ca=True, path_length=0), critical=True).sign(
        key, hashes.SHA256()
    )


def test_a_tpm_signs_for_a_ca(tpm: Path, tmp_path: Path) -> None:
    """K1: a P-256 key made by our template stays in the TPM, and signs what openssl verifies, after a restart too."""
    with Hsm.open(tpm, "tpm", PIN) as hsm:
        key_id = hsm.generate_key(KeyAlgorithm.EC_P256, "ca")
        made = hsm.attributes(key_id)
        assert made.stays_in_token
        assert made.never_extractable
        assert made.local
    with Hsm.open(tpm, "tpm", PIN) as hsm:
        key = hsm.signing_key(key_id)
        assert isinstance(key, TokenECKey)
        pem = tmp_path / "root.pem"
        pem.write_bytes(make_ca(key).public_bytes(Encoding.PEM))
        with ThreadPoolExecutor(4) as threads:
            assert len(set(threads.map(lambda _: key.sign(b"tbs", ECDSA), range(16)))) == 16
        report = probe(hsm)
    assert report.safe
    done = subprocess.run(["openssl", "verify", "-check_ss_sig", "-CAfile", pem, pem], capture_output=True, check=True)
    assert done.stdout.endswith(b": OK\n")


def test_a_tpm_keeps_no_kek(tpm: Path) -> None:
    """It has no secret keys: it may hold a CA's key, and the error says what cannot be done with it."""
    with Hsm.open(tpm, "tpm", PIN) as hsm, pytest.raises(HsmUnsupported, match="FunctionNotSupported"):
        hsm.generate_key(KeyAlgorithm.AES_256, "kek")


@pytest.fixture
def nss(shim_library: Path, tmp_path: Path) -> Hsm:
    """Give NSS's token, opened; the shim gives it the parameters without which it is not initialised."""
    database, folder = tmp_path / "nss", tmp_path / "shim"
    database.mkdir()
    folder.mkdir()
    parameters = f"configdir='sql:{database}' certPrefix='' keyPrefix='' secmod='' flags= dbTokenDescription='nss'"
    real = installed("*/libsoftokn3.so", "libnss3")
    module = Shim(shim_library, folder, real, parameters).load().module
    loaded = load_module(module)
    loaded.acquire()
    (token,) = (item for item in loaded.tokens() if item.label == "nss")
    with token.open(rw=True, so_pin="") as session:
        session.init_pin(PIN)
    loaded.release(1.0)
    return Hsm.open(module, "nss", PIN)


def make_stored_key(hsm: Hsm) -> None:
    """Make a key by our template, without the read-back that the house would refuse it by."""
    key_id = bytes(range(16))

    def work(session: TokenSession) -> None:
        session.raw.generate_keypair(
            KeyType.EC,
            capabilities=MechanismFlag(0),
            public_template=public_template(KeyAlgorithm.EC_P256, key_id, "ca"),
            private_template=key_template(KeyAlgorithm.EC_P256, key_id, "ca"),
        )

    hsm.sessions.run(Lane.KEYGEN, work)


def test_nss_is_refused_since_it_wraps_what_it_must_keep(nss: Hsm) -> None:
    """F06, K1: NSS says CKA_EXTRACTABLE false of a key, and wraps it all the same: the doctor has tried."""
    with nss as hsm:
        make_stored_key(hsm)
        report = probe(hsm)
    assert not report.safe
    (stored,) = (check for check in report.checks if check.name.startswith("key 'ca'"))
    assert not stored.ok
    assert "wrapped by" in stored.detail
    assert "its attributes let it out" not in stored.detail
