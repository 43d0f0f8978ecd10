"""Two people: each has signed exactly this script, with a key of their own."""

import shutil

import pytest
from cryptography.hazmat.primitives import serialization
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.hazmat.primitives.serialization import Encoding, PrivateFormat, PublicFormat

from pki.ceremony.people import require_signatures, sign_script
from pki.ceremony.script import read_script
from pki.errors import Denied, Misconfigured
from tests.pki.ceremony.stage import Stage, public_line, write_key


def _signature(stage: Stage, name: str) -> str:
    return (stage.folder / f"script.yaml.{name}.sig").read_text()


def test_both_signatures_are_required(stage: Stage) -> None:
    """Z-B12: nobody, or one alone, is not enough, and the error names who is missing."""
    for name, missing in ((None, "ada"), ("ada", "grace")):
        if name:
            stage.sign(name)
        with pytest.raises(Denied, match=f"{missing} has not signed"):
            stage.hold()
    stage.sign("grace")
    assert set(require_signatures(read_script(stage.script))) == {"ada", "grace"}
    assert not stage.out.exists()


def test_one_person_is_never_two(stage: Stage) -> None:
    """Z-B12: one key under two names is one person; so is one signature in both places."""
    stage.write(witness={"name": "grace", "key": stage.document["operator"]["key"]})
    stage.sign("ada")
    shutil.copy(stage.folder / "script.yaml.ada.sig", stage.folder / "script.yaml.grace.sig")
    with pytest.raises(Denied, match="have one key"):
        stage.hold()
    other = write_key(stage.folder / "other.key")
    stage.write(witness={"name": "grace", "key": public_line(other)})
    stage.sign("ada")
    shutil.copy(stage.folder / "script.yaml.ada.sig", stage.folder / "script.yaml.grace.sig")
    with pytest.raises(Denied, match="the signature of grace is not over this script"):
        stage.hold()
    assert stage.keys_in_token() == 0


def test_a_script_edited_after_signing_is_refused(stage: Stage) -> None:
    """Z-B12: one octet more, and both sign anew."""
    stage.agree()
    stage.script.write_text(stage.script.read_text() + "\n")
    with pytest.raises(Denied, match="the signature of ada is not over this script") as refused:
        stage.hold()
    assert "changed after it was signed" in refused.value.advice
    assert stage.keys_in_token() == 0


@pytest.mark.parametrize("text", ["", "!!!", "AAAA", "é"])
def test_a_signature_that_is_none_is_refused(stage: Stage, text: str) -> None:
    """Whatever stands in the file, the answer is a refusal with a name in it."""
    stage.agree()
    (stage.folder / "script.yaml.grace.sig").write_text(text)
    with pytest.raises(Denied, match="grace"):
        stage.hold()


def test_a_stranger_cannot_sign(stage: Stage) -> None:
    """Whose key is not in the script agrees to nothing."""
    write_key(stage.folder / "mallory.key")
    with pytest.raises(Denied, match="not the key of anybody"):
        sign_script(read_script(stage.script), stage.folder / "mallory.key")


def test_keys_are_taken_in_pem_as_well(stage: Stage) -> None:
    """An Ed25519 key as `openssl genpkey` writes it does as well as OpenSSH's."""
    private = serialization.load_ssh_private_key((stage.folder / "ada.key").read_bytes(), None)
    pem = private.private_bytes(Encoding.PEM, PrivateFormat.PKCS8, serialization.NoEncryption())
    (stage.folder / "ada.key").write_bytes(pem)
    public = private.public_key().public_bytes(Encoding.PEM, PublicFormat.SubjectPublicKeyInfo)
    stage.write(operator={"name": "ada", "key": public.decode()})
    stage.sign()
    assert len(_signature(stage, "ada")) == 89


def test_a_key_that_cannot_be_used_says_why(stage: Stage) -> None:
    """Open to others, of another kind, with a passphrase, absent: each in one line that never shows the key."""
    written = read_script(stage.script)
    path = stage.folder / "ada.key"
    path.chmod(0o644)
    with pytest.raises(Misconfigured, match="chmod 600"):
        sign_script(written, path)
    path.chmod(0o600)
    key = serialization.load_ssh_private_key(path.read_bytes(), None)
    path.write_bytes(key.private_bytes(Encoding.PEM, PrivateFormat.PKCS8, serialization.BestAvailableEncryption(b"x")))
    with pytest.raises(Misconfigured, match="or has a passphrase"):
        sign_script(written, path)
    other = ec.generate_private_key(ec.SECP256R1())
    path.write_bytes(other.private_bytes(Encoding.PEM, PrivateFormat.PKCS8, serialization.NoEncryption()))
    with pytest.raises(Misconfigured, match="no Ed25519 private key"):
        sign_script(written, path)
    with pytest.raises(Misconfigured, match="cannot read"):
        sign_script(written, stage.folder / "absent")


@pytest.mark.parametrize("key", ["", "ssh-rsa AAAA", "ssh-ed25519 AAAA", "ssh-ed25519 " + "A" * 68])
def test_a_public_key_that_is_none_is_refused(stage: Stage, key: str) -> None:
    """The script's own keys are checked before anything else."""
    stage.agree()
    stage.write(witness={"name": "grace", "key": key})
    with pytest.raises(Misconfigured, match="the key of grace is no Ed25519 public key"):
        stage.hold()
