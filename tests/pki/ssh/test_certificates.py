"""The encoder, against two others: cryptography's builder octet for octet, and ssh-keygen's reader."""

import base64
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest
from cryptography.hazmat.primitives.asymmetric import ed25519
from cryptography.hazmat.primitives.serialization import (
    SSHCertificateBuilder,
    SSHCertificateType,
    load_ssh_public_identity,
    load_ssh_public_key,
)
from hypothesis import given, settings
from hypothesis import strategies as st

from pki.ssh.certificates import Draft, assemble
from pki.ssh.encoding import string
from pki.ssh.keys import encode_public_key, line, read_line
from tests.counts import count
from tests.pki.ssh.material import fresh_line, shown

_FLAGS = ("permit-pty", "permit-X11-forwarding", "permit-user-rc", "no-touch-required")
_CA = ed25519.Ed25519PrivateKey.generate()
_KEYS = {kind: read_line(fresh_line(kind)) for kind in ("ed25519", "p256", "p384", "p521", "rsa")}
_TEXT = st.text(st.characters(codec="utf-8", exclude_categories=["C", "Z"]), min_size=1, max_size=40)
_MOMENT = datetime(2026, 11, 25, 12, 0, tzinfo=UTC)


@st.composite
def _drafts(draw: st.DrawFn) -> Draft:
    start = _MOMENT + timedelta(seconds=draw(st.integers(-(10**9), 10**9)))
    return Draft(
        key=_KEYS[draw(st.sampled_from(sorted(_KEYS)))],
        nonce=bytes(32),
        serial=draw(st.integers(0, 2**63 - 1)),
        kind=draw(st.sampled_from(["user", "host"])),
        key_id=draw(_TEXT),
        valid_principals=tuple(draw(st.lists(_TEXT, min_size=1, max_size=5))),
        not_before=start,
        not_after=start + timedelta(seconds=draw(st.integers(1, 10**8))),
        critical_options=draw(st.dictionaries(_TEXT, _TEXT, max_size=4)),
        extensions=draw(st.dictionaries(st.sampled_from(_FLAGS) | _TEXT, st.just(""), max_size=4)),
        issuer_key=encode_public_key(_CA.public_key()),
    )


def _built_by_the_library(draft: Draft) -> bytes:
    kind = SSHCertificateType.USER if draft.kind == "user" else SSHCertificateType.HOST
    builder = (
        SSHCertificateBuilder()
        .public_key(load_ssh_public_key(line(draft.key.blob).encode()))  # type: ignore[arg-type]
        .serial(draft.serial)
        .type(kind)
        .key_id(draft.key_id.encode())
        .valid_principals([item.encode() for item in draft.valid_principals])
        .valid_after(int(draft.not_before.timestamp()))
        .valid_before(int(draft.not_after.timestamp()))
    )
    for name, value in draft.critical_options.items():
        builder = builder.add_critical_option(name.encode(), value.encode())
    for name, value in draft.extensions.items():
        builder = builder.add_extension(name.encode(), value.encode())
    return base64.b64decode(builder.sign(_CA).public_bytes().split()[1])


def _with_nonce_of(draft: Draft, certificate: bytes) -> bytes:
    name = int.from_bytes(certificate[:4])
    nonce = certificate[8 + name : 8 + name + 32]
    return Draft(**{**{field: getattr(draft, field) for field in Draft.__slots__}, "nonce": nonce}).encode()


@settings(max_examples=count(100, 2000))
@given(_drafts())
def test_what_is_signed_is_what_the_library_signs(draft: Draft) -> None:
    """S19: but for the nonce, which is random, the octets are those of another encoder."""
    theirs = _built_by_the_library(draft)
    assert theirs.startswith(_with_nonce_of(draft, theirs) + (4 + 11 + 4 + 64).to_bytes(4))


@given(_drafts())
def test_a_certificate_verifies_in_the_library(draft: Draft) -> None:
    """S19: signed, it is read and its signature verified by code that is not ours."""
    body = draft.encode()
    made = assemble(body, string(b"ssh-ed25519") + string(_CA.sign(body)))
    read = load_ssh_public_identity(line(made).encode())
    read.verify_cert_signature()  # type: ignore[union-attr]
    assert line(made).encode() == read.public_bytes()  # type: ignore[union-attr]


@pytest.mark.parametrize(
    ("kind", "type_name"),
    [
        ("ed25519", "ssh-ed25519-cert-v01@openssh.com"),
        ("p384", "ecdsa-sha2-nistp384-cert-v01@openssh.com"),
        ("rsa", "ssh-rsa-cert-v01@openssh.com"),
        ("sk-ed25519", "sk-ssh-ed25519-cert-v01@openssh.com"),
        ("sk-ec", "sk-ecdsa-sha2-nistp256-cert-v01@openssh.com"),
    ],
)
def test_openssh_reads_every_kind(kind: str, type_name: str, tmp_path: Path) -> None:
    """S19 H8: a security key stays one; options are sorted, flags are empty, values are read."""
    draft = Draft(
        key=read_line(fresh_line(kind)),
        nonce=bytes(range(32)),
        serial=2**63 - 1,
        kind="user",
        key_id="alice-dev",
        valid_principals=("alice", "deploy"),
        not_before=_MOMENT,
        not_after=_MOMENT + timedelta(hours=1),
        critical_options={"verify-required": "", "source-address": "10.0.0.0/8,::1/128", "force-command": "id -u"},
        extensions={"permit-pty": "", "permit-X11-forwarding": "", "login@github.com": "alice"},
        issuer_key=encode_public_key(_CA.public_key()),
    )
    body = draft.encode()
    made = line(assemble(body, string(b"ssh-ed25519") + string(_CA.sign(body))))
    assert made.split()[0] == type_name
    told = [" ".join(item.split()) for item in shown(tmp_path, made).splitlines()]
    assert f"Type: {type_name} user certificate" in told
    assert "Serial: 9223372036854775807" in told
    assert "Valid: from 2026-11-25T12:00:00 to 2026-11-25T13:00:00" in told
    listed = told[told.index("Principals:") :]
    assert listed[:4] == ["Principals:", "alice", "deploy", "Critical Options:"]
    assert listed[4:7] == ["force-command id -u", "source-address 10.0.0.0/8,::1/128", "verify-required"]
    assert listed[8] == "login@github.com UNKNOWN OPTION (len 9)" or listed[8].startswith("login@github.com")
    assert listed[9:] == ["permit-X11-forwarding", "permit-pty"]
