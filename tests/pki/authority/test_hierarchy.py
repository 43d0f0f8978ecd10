"""CAs: made in the token through the gate, and leaving nothing behind when they fail."""

import subprocess
from pathlib import Path

import pytest
from cryptography import x509
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.hazmat.primitives.serialization import Encoding
from cryptography.x509.oid import NameOID
from sqlalchemy import select

from hsm.algorithms import KeyAlgorithm
from pki.authority.hierarchy import key_label, require_algorithm
from pki.authority.issue import Wanted
from pki.authority.names import Name
from pki.authority.profiles import KEY_NAMES, Profile, document
from pki.core import Core, read_cluster_id
from pki.errors import Conflict, Misconfigured, Rejected
from pki.storage.tables import issuers, profiles

SIGNING = [item for item in KeyAlgorithm if item is not KeyAlgorithm.AES_256]


def _subject(name: str) -> x509.Name:
    return x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, name)])


def _root(name: str, **changes: object) -> Profile:
    values = {"issuer": name, "kind": "root", "keys": KEY_NAMES, "lifetime": 86_400 * 365, **changes}
    return Profile(name=name, **values)  # type: ignore[arg-type]


def _ca(name: str, **changes: object) -> Profile:
    values = {"issuer": "root", "kind": "ca", "keys": KEY_NAMES, "lifetime": 86_400 * 30, "path_length": 0, **changes}
    return Profile(name=name, **values)  # type: ignore[arg-type]


def _keys(core: Core) -> list[bytes]:
    """Return the ids of the token's keys for the issuers x and y, which only these tests make."""
    labels = [key_label(read_cluster_id(core.database), f"issuer {name}") for name in "xy"]
    return [key_id for label in labels for key_id in core.hsm.find_key_ids(label)]


@pytest.fixture(autouse=True)
def _clean_token(core: Core) -> object:
    """Leave the session's token as it was."""
    yield
    for key_id in _keys(core):
        core.hsm.destroy_key(key_id)


@pytest.mark.parametrize("algorithm", SIGNING)
def test_every_kind_of_ca_key_signs_a_chain_that_verifies(core: Core, tmp_path: Path, algorithm: KeyAlgorithm) -> None:
    """CA01 CA02 CA04: root, intermediate, leaf and CRLs of each algorithm, in openssl and certtool."""
    root = core.hierarchy.create(_root("x"), None, _subject(f"root {algorithm}"), algorithm)
    below = core.hierarchy.create(_ca("y", issuer="x"), root, _subject(f"below {algorithm}"), algorithm)
    profile = Profile(name="z", issuer="y", dns=("*",), keys=KEY_NAMES, lifetime=3600)
    row = {"namespace_id": "root", "name": "z", "version": 1, "document": document(profile), "created_at": 0}
    core.database.write(lambda tx: tx.execute(profiles.insert(), row))
    key = ec.generate_private_key(ec.SECP256R1()).public_key()
    entry = core.gate.issue(Wanted("z", key, (Name("dns", "a.example"),), "test:me"))
    core.crls.publish_due()
    (tmp_path / "root.pem").write_bytes(root.certificate.public_bytes(Encoding.PEM))
    (tmp_path / "chain.pem").write_text(core.gate.chain_pem(entry))
    query = "SELECT der FROM crls WHERE issuer_id IN ('{}', '{}')".format(root.id, below.id)  # noqa: S608, UP032 - ours
    with core.database.read() as tx:
        lists = [x509.load_der_x509_crl(bytes(der)) for der in tx.exec_driver_sql(query).scalars()]
    (tmp_path / "crls.pem").write_bytes(b"".join(item.public_bytes(Encoding.PEM) for item in lists))
    openssl = ["openssl", "verify", "-x509_strict", "-crl_check_all", "-CRLfile", "crls.pem", "-CAfile", "root.pem"]
    certtool = ["certtool", "--verify", "--load-ca-certificate", "root.pem", "--load-crl", "crls.pem"]
    for command in ([*openssl, "-untrusted", "chain.pem", "chain.pem"], [*certtool, "--infile", "chain.pem"]):
        done = subprocess.run(command, cwd=tmp_path, capture_output=True, text=True, check=False)
        assert done.returncode == 0, done.stdout + done.stderr


def test_path_length_and_name_constraints_stand_in_the_certificate(core: Core) -> None:
    """CA08 S3: critical, as the profile says, and root and intermediate pass the strict standards' lint."""
    profile = _ca("x", permitted_dns=("corp.example",), permitted_ip=("10.0.0.0/8",))
    made = core.hierarchy.create(profile, core.issuers.named("root"), _subject("x"), KeyAlgorithm.EC_P256).certificate
    basic = made.extensions.get_extension_for_class(x509.BasicConstraints)
    constraints = made.extensions.get_extension_for_class(x509.NameConstraints)
    assert (basic.critical, basic.value.ca, basic.value.path_length) == (True, True, 0)
    assert constraints.critical
    assert len(constraints.value.permitted_subtrees or []) == 2


def test_an_intermediate_of_path_length_zero_signs_no_ca(core: Core) -> None:
    """X8: honoured when issuing; no key pair stays behind."""
    parent = core.issuers.named("intermediate")
    with pytest.raises(Rejected, match="a path length of 0"):
        core.hierarchy.create(_ca("x", issuer="intermediate"), parent, _subject("x"), KeyAlgorithm.EC_P256)
    assert _keys(core) == []


def test_names_outside_an_issuer_s_constraints_are_refused_when_issuing(core: Core) -> None:
    """CA09 X8: whatever the profile allows."""
    parent = core.issuers.named("root")
    constrained = _ca("x", permitted_dns=("corp.example",))
    core.hierarchy.create(constrained, parent, _subject("x"), KeyAlgorithm.EC_P256)
    profile = Profile(name="z", issuer="x", dns=("*",), keys=KEY_NAMES, lifetime=3600)
    row = {"namespace_id": "root", "name": "z", "version": 1, "document": document(profile), "created_at": 0}
    core.database.write(lambda tx: tx.execute(profiles.insert(), row))
    key = ec.generate_private_key(ec.SECP256R1()).public_key()
    assert core.gate.issue(Wanted("z", key, (Name("dns", "a.corp.example"),), "test:me")).state == "issued"
    with pytest.raises(Rejected, match=r"name constraints do not allow dns:a\.example"):
        core.gate.issue(Wanted("z", key, (Name("dns", "a.example"),), "test:me"))


def test_a_name_that_is_taken_makes_no_key(core: Core) -> None:
    """A second root of the same name is refused before the token is asked."""
    with pytest.raises(Conflict, match="there is an issuer root already"):
        core.hierarchy.create(_root("root"), None, _subject("x"), KeyAlgorithm.EC_P256)


def test_what_an_interrupted_creation_left_is_cleared_by_the_next(core: Core) -> None:
    """A crash after the key, or after the reservation, costs nothing but a new attempt."""
    orphan = core.hsm.generate_key(KeyAlgorithm.EC_P256, key_label(read_cluster_id(core.database), "issuer x"))
    values = {"id": "dead", "namespace_id": "root", "name": "x", "kind": "root", "key_id_hex": orphan.hex()}
    values |= {"key_algorithm": "ec-p256", "subject": "", "subject_key_id": "", "spki_sha256": "", "state": "reserved"}
    row = {**values, "not_before": 0, "not_after": 0, "created_at": 0}
    core.database.write(lambda tx: tx.execute(issuers.insert(), row))
    made = core.hierarchy.create(_root("x"), None, _subject("x"), KeyAlgorithm.EC_P256)
    assert _keys(core) == [made.key_id]
    with core.database.read() as tx:
        assert tx.execute(select(issuers.c.id).where(issuers.c.name == "x")).scalars().all() == [made.id]


def test_an_unknown_key_algorithm_names_those_that_are_known() -> None:
    """The operator's misspelling is one clear line."""
    with pytest.raises(Misconfigured, match=r"no such key algorithm: ec-p512.*rsa-2048"):
        require_algorithm("ec-p512", "[authority] root_algorithm")
