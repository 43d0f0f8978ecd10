"""Public keys as people send them: what is read, and what is refused before anything is signed."""

import base64
import hashlib
import subprocess
from pathlib import Path

import pytest
from cryptography.hazmat.primitives.asymmetric import ec, rsa
from hypothesis import given
from hypothesis import strategies as st

from pki.errors import Malformed, Rejected
from pki.ssh.encoding import Reader, mpint, string
from pki.ssh.keys import fingerprint, line, read_line
from tests.pki.ssh.material import fresh_line

_SK = b"sk-ssh-ed25519@openssh.com"


@pytest.mark.parametrize("kind", ["ed25519", "p256", "p384", "p521", "rsa", "sk-ed25519", "sk-ec"])
def test_every_kind_is_read_and_written_back(kind: str, tmp_path: Path) -> None:
    """S19: the same octets come back, under the fingerprint that ssh-keygen shows."""
    text = fresh_line(kind)
    key = read_line(f"{text} alice@laptop, in the kitchen\n")
    assert line(key.blob) == text
    (tmp_path / "key.pub").write_text(text + "\n")
    told = subprocess.run(
        ["ssh-keygen", "-l", "-f", "key.pub"], cwd=tmp_path, capture_output=True, text=True, check=True
    )
    assert told.stdout.split()[1] == fingerprint(key.sha256)
    assert int(told.stdout.split()[0]) == key.bits


def _rsa_line(bits: int, exponent: int = 65537) -> str:
    numbers = rsa.generate_private_key(65537, bits).public_key().public_numbers()
    return line(string(b"ssh-rsa") + mpint(exponent) + mpint(numbers.n))


@pytest.mark.parametrize(
    "text",
    [
        _rsa_line(1024),
        _rsa_line(2048, 3),
        line(string(b"ssh-dss") + mpint(23) * 4),
        line(string(b"ssh-ed25519") + string(bytes(32))),
        line(string(_SK) + string(bytes(32)) + string(b"ssh:")),
        line(string(_SK) + Reader(read_line(fresh_line()).fields).rest() + string(b"https://bank.example")),
        "ssh-ed448 " + base64.b64encode(string(b"ssh-ed448") + string(bytes(57))).decode(),
        line(string(b"ecdsa-sha2-nistp256") + string(b"nistp256") + string(b"\x04" + bytes([1]) * 64)),
    ],
    ids=["rsa-1024", "rsa-e3", "dsa", "low-order", "sk-low-order", "sk-of-a-website", "unknown", "off-curve"],
)
def test_weak_and_foreign_keys_are_refused(text: str) -> None:
    """H8: short RSA, DSA, unsound points, and security keys that were not made for SSH."""
    with pytest.raises(Rejected) as caught:
        read_line(text)
    assert caught.value.code == "weakKey"


def test_a_certificate_is_not_taken_for_a_key() -> None:
    """H8: what is certified is a key, never a certificate."""
    with pytest.raises(Rejected, match="certificate, not a public key"):
        read_line("ssh-ed25519-cert-v01@openssh.com AAAA")


def _tampered() -> dict[str, str]:
    good = fresh_line()
    name, blob = good.split()[0], base64.b64decode(good.split()[1])
    p256 = base64.b64decode(fresh_line("p256").split()[1])
    compressed = ec.generate_private_key(ec.SECP256R1()).public_key()
    numbers = compressed.public_numbers()
    point = bytes([2 + numbers.y % 2]) + numbers.x.to_bytes(32)
    modulus = rsa.generate_private_key(65537, 2048).public_key().public_numbers().n
    long_number = string(b"\0\0" + modulus.to_bytes(256))
    return {
        "empty": "",
        "one word": name,
        "no base64": f"{name} !!!!",
        "non-ASCII": f"{name} ÄÖÜß",
        "two lines": f"{good}\n{fresh_line()}",
        "options before": f'command="id" {good}',
        "PEM": "-----BEGIN PUBLIC KEY-----\nAAAA\n-----END PUBLIC KEY-----",
        "other type within": f"ssh-rsa {good.split()[1]}",
        "cut short": line(blob)[: len(name) + 1] + base64.b64encode(blob[:-1]).decode(),
        "left over": line(blob + b"x"),
        "huge length": line(string(name.encode()) + bytes([255]) * 8),
        "curve of another type": line(string(b"ecdsa-sha2-nistp384") + p256[4 + 19 :]),
        "compressed point": line(string(b"ecdsa-sha2-nistp256") + string(b"nistp256") + string(point)),
        "31 octets": line(string(b"ssh-ed25519") + string(bytes(31))),
        "negative modulus": line(string(b"ssh-rsa") + mpint(65537) + string(b"\xff" * 256)),
        "long number": line(string(b"ssh-rsa") + mpint(65537) + long_number),
        "control octet in the type": base64.b64encode(string(b"ssh-\n")).decode(),
        "64 KiB": f"{good} {'x' * 65536}",
    }


@pytest.mark.parametrize(("what", "text"), _tampered().items(), ids=list(_tampered()))
def test_what_is_no_key_in_its_one_right_form_is_malformed(what: str, text: str) -> None:
    """D4 H8: nothing is guessed, mended or ignored, and nothing crashes."""
    with pytest.raises((Malformed, Rejected)) as caught:
        read_line(text)
    assert caught.value.advice or caught.value.message, what


@given(st.binary(max_size=200), st.sampled_from(["ssh-ed25519", "ssh-rsa", "ecdsa-sha2-nistp256", _SK.decode()]))
def test_no_octets_crash_the_reader(octets: bytes, name: str) -> None:
    """D4: whatever follows the type, the answer is a key or a refusal."""
    text = f"{name} {base64.b64encode(string(name.encode()) + octets).decode()}"
    try:
        key = read_line(text)
    except (Malformed, Rejected) as refusal:
        assert refusal.message  # noqa: PT017 - either way is right
    else:
        assert hashlib.sha256(base64.b64decode(text.split()[1])).digest() == key.sha256
