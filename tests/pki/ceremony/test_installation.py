"""The service's side: a request goes out, and what comes back is examined before it is used."""

import dataclasses
import hashlib
from collections.abc import Iterator
from datetime import timedelta
from pathlib import Path
from typing import Any

import pytest
from cryptography import x509
from cryptography.hazmat.primitives.asymmetric import ec
from sqlalchemy import select

from pki.authority.issue import Wanted
from pki.authority.names import Name
from pki.ceremony.acts import root_id
from pki.ceremony.installation import install, install_crl
from pki.ceremony.request import make_request
from pki.clock import SystemClock
from pki.config import Config
from pki.core import Core, open_core
from pki.errors import Conflict, Misconfigured, NotFound, Rejected
from pki.founding import found
from pki.storage.tables import audit_events, crls, issuers
from tests.clocks import FrozenClock
from tests.house_fixture import configure
from tests.pki.ceremony.stage import Stage, count, write_request
from tests.tokens import SoftToken, fresh_token

_FOUNDED = 5
"""The KEK, and the key pairs of the two CAs of SSH."""


@pytest.fixture
def external(migrated_url: str, token_folder: Path, tmp_path: Path) -> Config:
    """Give the configuration of a service, in a folder of its own, whose root is to be external."""
    assert token_folder.is_dir()
    folder = tmp_path / "service"
    folder.mkdir()
    config = configure(migrated_url, fresh_token(), folder)
    authority = dataclasses.replace(config.authority, root="external", permitted_dns=("corp.example",))
    return dataclasses.replace(config, authority=authority)


@pytest.fixture
def service(external: Config) -> Iterator[Core]:
    """Give that service, founded and opened."""
    found(external)
    opened = open_core(external, FrozenClock(SystemClock().now()))
    yield opened
    opened.close()


@dataclasses.dataclass
class Returned:
    """What the ceremony gave."""

    root: x509.Certificate
    intermediate: x509.Certificate
    crl: x509.CertificateRevocationList


def _hold(stage: Stage, core: Core, *, request: bytes | None = None, **changes: Any) -> Returned:
    """Make the request, carry it to the stage, and hold the ceremony there; `changes` are to its second act."""
    pem, subject = make_request(core)
    path = stage.folder / "intermediate.csr"
    path.write_bytes(request or pem)
    organization, common_name = (str(part.value) for part in subject)
    digest = hashlib.sha256(path.read_bytes()).hexdigest()
    names = {"organization": organization, "common_name": common_name}
    stage.document["acts"][1] |= {"request_sha256": digest, "subject": names, **changes}
    stage.agree()
    root, intermediate, crl = (item.der for item in stage.hold(clock=core.clock).verified.outcomes)
    return Returned(
        x509.load_der_x509_certificate(root),
        x509.load_der_x509_certificate(intermediate),
        x509.load_der_x509_crl(crl),
    )


def test_an_external_root_leaves_the_service_without_a_ca_of_its_own(service: Core) -> None:
    """CA49: init makes the KEK and the keys of SSH, no key of an X.509 CA; founding again changes nothing."""
    assert service.issuers.active() == []
    assert count(service.hsm) == _FOUNDED
    found(service.config)
    assert count(service.hsm) == _FOUNDED
    assert service.profiles.names() == ["default"]


def test_a_request_is_for_one_key_however_often_it_is_made(service: Core) -> None:
    """A lost file is no reason for another key; the request is signed by the key it holds."""
    first, subject = make_request(service)
    again, _ = make_request(service)
    request = x509.load_pem_x509_csr(first)
    assert request.is_signature_valid
    assert request.subject == subject
    assert request.public_key() == x509.load_pem_x509_csr(again).public_key()
    assert count(service.hsm) == _FOUNDED + 2


@pytest.mark.parametrize("algorithm", ["rsa-2048", "ed25519"])
def test_a_request_is_signed_by_every_kind_of_key(external: Config, algorithm: str) -> None:
    """CA01: the intermediate's key need not be on an elliptic curve of NIST's."""
    authority = dataclasses.replace(external.authority, intermediate_algorithm=algorithm)
    config = dataclasses.replace(external, authority=authority)
    found(config)
    core = open_core(config)
    assert x509.load_pem_x509_csr(make_request(core)[0]).is_signature_valid
    core.close()


def test_a_service_with_its_own_root_makes_no_request(external: Config) -> None:
    """The configuration decides where the root is, before anything is made."""
    config = dataclasses.replace(external, authority=dataclasses.replace(external.authority, root="own"))
    found(config)
    core = open_core(config)
    with pytest.raises(Misconfigured, match="this service's own"):
        make_request(core)
    with pytest.raises(NotFound, match="no external root"):
        install_crl(core, None)  # type: ignore[arg-type]
    core.close()


def test_what_came_back_issues_and_never_signs_as_the_root(service: Core, stage: Stage) -> None:
    """CA49: the chain of a leaf ends below the offline root, which has no key here and publishes the carried CRL."""
    back = _hold(stage, service)
    assert install(service, back.intermediate, back.root) is True
    assert install(service, back.intermediate, back.root) is False
    names = (Name("dns", "a.corp.example"),)
    entry = service.gate.issue(Wanted("default", ec.generate_private_key(ec.SECP256R1()).public_key(), names, "test"))
    leaf, *above = x509.load_pem_x509_certificates(service.gate.chain_pem(entry).encode())
    assert above == [back.intermediate]
    leaf.verify_directly_issued_by(back.intermediate)
    root = service.issuers.named("root")
    with pytest.raises(Misconfigured, match="offline token"):
        service.issuers.key(root)
    assert service.crls.publish_due() == 1
    assert install_crl(service, back.crl) == 1
    assert install_crl(service, back.crl) == 1
    with service.database.read() as tx:
        lists = tx.execute(select(crls.c.issuer_id, crls.c.number).order_by(crls.c.number)).all()
        done = tx.execute(select(audit_events.c.action).where(audit_events.c.actor == "house:ceremony")).scalars().all()
    assert [item.issuer_id for item in lists] == [root.id, service.issuers.named("intermediate").id]
    assert sorted(done) == ["crl.install", "issuer.install"]
    assert service.crls.publish_due() == 0


def test_the_key_of_the_external_root_is_never_certified(service: Core, stage: Stage) -> None:
    """X4: a request with a CA's key is refused, be the CA elsewhere."""
    back = _hold(stage, service)
    install(service, back.intermediate, back.root)
    key: Any = back.root.public_key()
    with pytest.raises(Rejected, match="key of a CA"):
        service.gate.issue(Wanted("default", key, (Name("dns", "a.corp.example"),), "test"))


def test_a_certificate_for_another_key_is_refused(service: Core, stage: Stage) -> None:
    """What was signed is the request of somebody else: the service could never use it."""
    write_request(stage.folder / "other.csr")
    back = _hold(stage, service, request=(stage.folder / "other.csr").read_bytes())
    with pytest.raises(Rejected, match="not the one in this token"):
        install(service, back.intermediate, back.root)
    assert service.issuers.active() == []


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"subject": {"common_name": "Another"}}, "subject is not the requested one"),
        ({"permitted_dns": []}, "name constraints are not those of the configuration"),
        ({"permitted_dns": ["corp.example", "other.example"]}, "name constraints are not those"),
        ({"permitted_ip": ["10.0.0.0/8"]}, "name constraints are not those"),
    ],
)
def test_a_certificate_that_is_not_as_asked_for_is_refused(
    service: Core, stage: Stage, changes: dict[str, Any], message: str
) -> None:
    """X8: subject and constraints are what the configuration says; nothing is installed."""
    back = _hold(stage, service, **changes)
    with pytest.raises(Rejected, match=message):
        install(service, back.intermediate, back.root)
    assert service.issuers.active() == []


def test_pointers_to_somewhere_else_are_refused(service: Core, stage: Stage) -> None:
    """They stand in the certificate for ever, and nobody would find the CRL."""
    stage.document["base_url"] = "http://elsewhere.example"
    back = _hold(stage, service)
    with pytest.raises(Rejected, match="points to where this service does not publish"):
        install(service, back.intermediate, back.root)


def test_a_path_length_that_allows_cas_below_is_refused(service: Core, stage: Stage) -> None:
    """X8: the service's intermediate issues end-entity certificates alone."""
    stage.document["acts"][0]["path_length"] = 2
    back = _hold(stage, service, path_length=1)
    with pytest.raises(Rejected, match="path length is not 0"):
        install(service, back.intermediate, back.root)


def test_a_foreign_or_confused_root_is_refused(
    service: Core, stage: Stage, tmp_path: Path, soft_token: SoftToken
) -> None:
    """Both certificates must be of one ceremony, and named in their order."""
    back = _hold(stage, service)
    with pytest.raises(Rejected, match="name the intermediate first"):
        install(service, back.root, back.intermediate)
    (tmp_path / "second").mkdir()
    second = Stage(tmp_path / "second", soft_token)
    second.prepare()
    other = _hold(second, service)
    with pytest.raises(Rejected, match="not signed by that root"):
        install(service, back.intermediate, other.root)
    install(service, back.intermediate, back.root)
    with pytest.raises(Conflict, match="another intermediate or root"):
        install(service, other.intermediate, other.root)


def test_nothing_is_installed_without_a_request(service: Core, stage: Stage) -> None:
    """The key must be here before its certificate."""
    stage.agree()
    root, intermediate, _ = stage.hold(clock=service.clock).verified.outcomes
    with pytest.raises(NotFound, match="no request was made here"):
        install(service, x509.load_der_x509_certificate(intermediate.der), x509.load_der_x509_certificate(root.der))


def test_a_clock_that_is_wrong_installs_nothing(service: Core, stage: Stage) -> None:
    """X7: what is not valid yet, by this machine's clock, is refused with the dates."""
    back = _hold(stage, service)
    clock = service.clock
    assert isinstance(clock, FrozenClock)
    clock.advance(-timedelta(days=2))
    with pytest.raises(Rejected, match="is valid from"):
        install(service, back.intermediate, back.root)


def test_a_crl_must_be_the_root_s_current_and_newer(service: Core, stage: Stage) -> None:
    """A CRL that does not end, is over, is another CA's or goes back is refused; the published one stays."""
    back = _hold(stage, service)
    with pytest.raises(NotFound, match="no external root is installed"):
        install_crl(service, back.crl)
    install(service, back.intermediate, back.root)
    assert install_crl(service, back.crl) == 1
    service.crls.publish_due()
    with service.database.read() as tx:
        query = select(crls.c.der).where(crls.c.issuer_id == service.issuers.named("intermediate").id)
        foreign = x509.load_der_x509_crl(bytes(tx.execute(query).scalar_one()))
    with pytest.raises(Rejected, match="not by the installed root"):
        install_crl(service, foreign)
    stage.agree(root=stage.known_root(back.root), acts=[{"act": "crl", "number": 1, "days": 30}])
    same = stage.hold(stage.folder / "again", service.clock).verified.outcomes[0]
    with pytest.raises(Rejected, match="number is 1, and 1 is published"):
        install_crl(service, x509.load_der_x509_crl(same.der))
    clock = service.clock
    assert isinstance(clock, FrozenClock)
    clock.advance(timedelta(days=500))
    with pytest.raises(Rejected, match="not for now"):
        install_crl(service, back.crl)
    with service.database.read() as tx:
        assert tx.execute(select(issuers.c.id).where(issuers.c.kind == "root")).scalar_one() == root_id(back.root)
