"""The two people of a ceremony: each signs the script's digest beforehand, with an Ed25519 key of their own."""

import base64
import binascii
import stat
from collections.abc import Mapping
from pathlib import Path

from cryptography.exceptions import InvalidSignature, UnsupportedAlgorithm
from cryptography.hazmat.primitives import serialization
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey, Ed25519PublicKey

from pki.ceremony.script import Person, Script, Written
from pki.errors import Denied, Misconfigured, Rejected
from pki.ledger.weak_keys import check_key

_PURPOSE = b"sealward ceremony script 1\n"
"""Begins every message, so that a signature made here means nothing elsewhere."""
_UNREADABLE = (ValueError, TypeError, UnsupportedAlgorithm)


def public_key(person: Person) -> Ed25519PublicKey:
    """Return a person's public key.

    Raises:
        Misconfigured: it is not an Ed25519 key, or a weak one.
    """
    octets = person.key.strip().encode()
    try:
        load = serialization.load_pem_public_key if octets.startswith(b"-----") else serialization.load_ssh_public_key
        key = check_key(load(octets))
    except (*_UNREADABLE, Rejected):
        key = None
    if not isinstance(key, Ed25519PublicKey):
        advice = "write it into the script as `ssh-ed25519 AAAA...`, the content of the .pub file"
        raise Misconfigured(f"the key of {person.name} is no Ed25519 public key", advice=advice)
    return key


def sign_script(written: Written, key_file: Path) -> Path:
    """Sign the script with a person's private key, and return the file that holds the signature.

    Raises:
        Misconfigured: the key cannot be used.
        Denied: it is nobody's who is named in the script.
    """
    key = _read_private(key_file)
    mine = key.public_key()
    person = next((item for item in written.script.people if public_key(item) == mine), None)
    if person is None:
        raise Denied(f"{key_file} is not the key of anybody in {written.path}", advice="name your own key with --key")
    place = signature_file(written, person)
    place.write_text(base64.b64encode(key.sign(_message(written.digest))).decode() + "\n", encoding="ascii")
    return place


def signature_file(written: Written, person: Person) -> Path:
    """Return where a person's signature is kept: beside the script."""
    return written.path.with_name(f"{written.path.name}.{person.name}.sig")


def require_signatures(written: Written) -> dict[str, str]:
    """Return both people's signatures by name, in base64, when both have signed exactly this script.

    Raises:
        Denied: one of them has not.
        Misconfigured: a key in the script cannot be used.
    """
    found = {}
    for person in written.script.people:
        place = signature_file(written, person)
        try:
            found[person.name] = place.read_text(encoding="ascii").strip()
        except (OSError, UnicodeDecodeError):
            advice = f"{person.name} runs `sealward ceremony sign-script {written.path} --key FILE`"
            raise Denied(f"{person.name} has not signed the script: there is no {place}", advice=advice) from None
    check_signatures(written.script, written.digest, found)
    return found


def check_signatures(script: Script, digest: str, signatures: Mapping[str, object]) -> None:
    """Check that two different people have signed the script of that digest (hex).

    Raises:
        Denied: a signature is missing or is not that person's over this script, or both people have one key.
        Misconfigured: a key in the script cannot be used.
    """
    operator, witness = script.people
    if public_key(operator) == public_key(witness):
        raise Denied(f"{operator.name} and {witness.name} have one key", advice="a ceremony needs two people")
    if set(signatures) != {operator.name, witness.name}:
        raise Denied("the signatures are not those of operator and witness", advice="each of the two signs once")
    for person in script.people:
        try:
            signature = base64.b64decode(str(signatures[person.name]), validate=True)
            public_key(person).verify(signature, _message(digest))
        except (binascii.Error, ValueError, InvalidSignature):
            advice = "the script was changed after it was signed, or signed with another key: read it, and sign again"
            raise Denied(f"the signature of {person.name} is not over this script", advice=advice) from None


def _message(digest: str) -> bytes:
    return _PURPOSE + digest.encode()


def _read_private(path: Path) -> Ed25519PrivateKey:
    try:
        mode, octets = path.stat().st_mode, path.read_bytes()
    except OSError as error:
        raise Misconfigured(f"cannot read {path}: {error.strerror}", advice="name your key with --key") from None
    if stat.S_IMODE(mode) & 0o077:
        raise Misconfigured(f"{path} is open to other users", advice=f"chmod 600 {path}")
    is_openssh = b"BEGIN OPENSSH" in octets
    load = serialization.load_ssh_private_key if is_openssh else serialization.load_pem_private_key
    try:
        key = load(octets, None)
    except _UNREADABLE:
        key = None
    if not isinstance(key, Ed25519PrivateKey):
        advice = "make one with `ssh-keygen -t ed25519 -N ''`, and keep it where only you can read it"
        raise Misconfigured(f"{path} is no Ed25519 private key, or has a passphrase", advice=advice)
    return key
