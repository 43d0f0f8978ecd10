"""One issuance gate: whoever signs as a CA is on this page, with the reason, and nobody else."""

import ast
from collections.abc import Callable, Iterator

import pytest

from tests.house.tree import Module, imports, shipped

ISSUER_KEY_DOORS = {
    "pki.authority.issue": "the issuance gate: every certificate, those of CAs included, passes it",
    "pki.authority.crl": "the publisher of CRLs",
    "pki.ssh.sign": "the issuance gate of SSH: every SSH certificate passes it",
}
TOKEN_KEY_DOORS = {
    "pki.authority.issuers": "gives an issuer's key to the two above, after comparing it with the certificate",
    "pki.authority.hierarchy": "gives the gate the key of a CA that is being made",
    "pki.ssh.issuers": "gives the SSH gate a CA's key, after comparing it with the one that was made",
    "pki.ceremony.token": "the offline root's key, each use of which is in the transcript first (decision 8)",
    "pki.ceremony.installation": "compares the key that was reserved with the certificate that came back",
}
SIGNING_DOORS = {
    **ISSUER_KEY_DOORS,
    "pki.authority.signatures": "where the gate and the publisher sign, and verify what the HSM returned",
    "pki.ssh.signatures": "where the gate of SSH signs, in the forms of SSH; the key verifies what the HSM returned",
    "pki.ceremony.acts": "the offline root, over the authority's own drafts, lint and signatures (decision 8)",
    "pki.ceremony.token": "records each C_Sign of the offline root, and makes it",
    "pki.ceremony.request": "signs the request for an intermediate with its own new key, which certifies nothing",
    "pki.ceremony.people": "a person's own key agrees to a ceremony's script; no CA's",
}
GATES = ("pki", "acme_server")
BUILDERS = {"CertificateBuilder", "CertificateRevocationListBuilder", "OCSPResponseBuilder", "SSHCertificateBuilder"}


def _calls(module: Module, matches: Callable[[ast.Attribute], bool]) -> bool:
    return any(
        isinstance(node, ast.Attribute) and isinstance(node.ctx, ast.Load) and matches(node)
        for node in ast.walk(module.tree)
    )


def _is_issuer_key(node: ast.Attribute) -> bool:
    owner = ast.unparse(node.value).rpartition(".")[2].lstrip("_").lower()
    return node.attr == "key" and owner in {"issuers", "issuers()"}


def _modules(*packages: str) -> Iterator[Module]:
    return (module for module in shipped() if module.name.partition(".")[0] in packages)


def test_only_the_gates_and_the_crl_publisher_reach_an_issuer_s_key() -> None:
    """X1: a door that went round the gate would sign what no profile, lint or ledger has seen."""
    users = {module.name for module in _modules("pki", "acme_server", "cli") if _calls(module, _is_issuer_key)}
    assert users == ISSUER_KEY_DOORS.keys()


def test_only_the_authority_takes_signing_keys_from_the_hsm() -> None:
    """The HSM gives a key to whoever names its id: few modules do."""
    users = {
        module.name
        for module in _modules("pki", "acme_server", "cli")
        if _calls(module, lambda node: node.attr == "signing_key")
    }
    assert users == TOKEN_KEY_DOORS.keys()


def test_only_one_module_of_each_authority_signs() -> None:
    """Nothing in the rooms or the ACME door calls any key's `sign` but the module that verifies the result."""
    users = {module.name for module in _modules(*GATES) if _calls(module, lambda node: node.attr == "sign")}
    assert users == SIGNING_DOORS.keys()


@pytest.mark.parametrize("builder", sorted(BUILDERS))
def test_no_builder_signs_past_the_gate(builder: str) -> None:
    """A builder of cryptography signs on the spot, unlinted and unrecorded; the gate builds what is signed itself."""
    users = [module.path for module in _modules(*GATES) if _calls(module, lambda node: node.attr == builder)]
    by_name = [module.path for module in _modules(*GATES) if any(name.endswith(builder) for name in imports(module))]
    assert users + by_name == []
