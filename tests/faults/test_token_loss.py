"""The PIN is changed, and the KEK is lost: what then serves, and what is gone (docs/how-to/backup-and-loss.md)."""

import contextlib
from pathlib import Path

import pytest
from cryptography import x509
from sqlalchemy import func, select
from werkzeug.test import Client

from hsm import Hsm, HsmKeyNotFound, HsmLoginFailed
from hsm.lanes import Lane
from pki.api.publication import create_publication
from pki.authority import signatures
from pki.config import Config
from pki.core import open_core, open_database, open_hsm
from pki.errors import HsmFailure
from pki.founding import found
from pki.service_keys import ServiceKeys
from pki.storage.tables import audit_events, certificates, issuers, keks
from tests.faults.shim import Shim
from tests.faults.token_house import attempt, behind, issue, verify
from tests.tokens import SoftToken

DEVICE_ERROR = 0x30
NEW_PIN = "another-pin"


def change_pin(token: SoftToken, new: str) -> None:
    """Change the user's PIN as an operator's tool does, in a module of its own."""
    with token.open() as hsm:
        hsm.sessions.run(Lane.KEYGEN, lambda session: session.raw.set_pin(token.pin, new))


def test_a_changed_pin_is_offered_once_and_then_read_anew(
    own_house: Config, soft_token: SoftToken, faults: Shim
) -> None:
    """K2: who is logged in stays so; a new login offers the old PIN once; a new file and a restart serve again."""
    config = behind(own_house, faults.module)
    with contextlib.closing(open_core(config)) as core:
        change_pin(soft_token, NEW_PIN)
        verify(core, issue(core))
        faults.fail("C_SignInit", DEVICE_ERROR, times=1)  # so that it must log in anew
        before = faults.calls("C_Login")
        for _ in range(10):
            failure = attempt(core).failure
            assert isinstance(failure, HsmFailure)
            assert "PIN" in f"{failure} {failure.advice}"
            assert NEW_PIN not in str(failure)
            assert soft_token.pin not in str(failure)
        assert faults.calls("C_Login") == before + 1
    with pytest.raises(HsmLoginFailed):
        open_core(config)
    config.hsm.pin_file.write_text(f"{NEW_PIN}\n")
    with contextlib.closing(open_core(config)) as core:
        verify(core, issue(core))


def lose_kek(config: Config) -> None:
    """Destroy the key-encryption key in the token."""
    with contextlib.closing(open_database(config)) as database, database.read() as tx:
        key_id = tx.execute(select(keks.c.key_id_hex)).scalar_one()
    with open_hsm(config) as hsm:
        hsm.destroy_key(bytes.fromhex(key_id))


def test_without_the_kek_a_running_service_signs_and_opens_nothing(own_house: Config) -> None:
    """The CAs' keys are keys of their own; what is sealed does not open any more, once it is forgotten."""
    with contextlib.closing(open_core(own_house)) as core:
        lose_kek(own_house)
        verify(core, issue(core))
        core.crls.publish(core.issuers.named("intermediate"))
        core.keyring.lock()
        core.keyring.unlock()  # what was unwrapped is forgotten, as it is after a minute
        with pytest.raises(HsmKeyNotFound) as told:
            ServiceKeys(core.database, core.keyring, core.ids).get("token digests")
        assert "restored whole" in told.value.advice


def test_without_the_kek_nothing_starts_and_no_other_is_made_in_silence(own_house: Config) -> None:
    """A second KEK would hide that the first is lost: `serve` and `init` tell what is missing."""
    lose_kek(own_house)
    for start in (open_core, found):
        with pytest.raises(HsmKeyNotFound, match="holds no SECRET_KEY"):
            start(own_house)
    with contextlib.closing(open_database(own_house)) as database, database.read() as tx:
        assert tx.execute(select(func.count()).select_from(keks)).scalar_one() == 1


def test_without_the_kek_the_ledger_and_the_crls_are_there(own_house: Config) -> None:
    """Certificates, revocations and the audit log are not sealed; the HTTP listener needs no token at all."""
    with contextlib.closing(open_core(own_house)) as core:
        issued = issue(core)
        core.crls.publish_due()
    lose_kek(own_house)
    with contextlib.closing(open_database(own_house)) as database:
        with database.read() as tx:
            stored = tx.execute(select(certificates.c.certificate).where(certificates.c.id == issued.id)).scalar_one()
            assert tx.execute(select(func.count()).select_from(audit_events)).scalar_one() > 0
            keys = tx.execute(select(issuers.c.key_id_hex)).scalars().all()
        certificate = x509.load_der_x509_certificate(stored)
        points = certificate.extensions.get_extension_for_class(x509.CRLDistributionPoints).value
        (name,) = points[0].full_name or ()
        path = name.value.removeprefix("http://ca.example:8080")
        answer = Client(create_publication(database)).get(path)
        assert answer.status_code == 200
        assert x509.load_der_x509_crl(answer.get_data()).issuer == certificate.issuer
    with open_hsm(own_house) as hsm:
        assert all(signs(hsm, key_id) for key_id in keys)


def signs(hsm: Hsm, key_id: str) -> bool:
    """Tell whether a CA's key still signs."""
    return bool(signatures.sign(hsm.signing_key(bytes.fromhex(key_id)), b"tbs"))


def test_a_restored_kek_opens_everything(own_house: Config, token_folder: Path, tmp_path: Path) -> None:
    """SoftHSM's backup is a copy of its folder: put back, the same service key comes out."""
    with contextlib.closing(open_core(own_house)) as core:
        before = core.service_keys.get("acme nonces")
    backup = tmp_path / "backup"
    copy_tree(token_folder / "tokens", backup)
    lose_kek(own_house)
    copy_tree(backup, token_folder / "tokens")
    with contextlib.closing(open_core(own_house)) as core:
        assert core.service_keys.get("acme nonces") == before
        verify(core, issue(core))


def copy_tree(source: Path, target: Path) -> None:
    """Copy every file that is not there yet, as a restore does."""
    for file in source.rglob("*"):
        place = target / file.relative_to(source)
        if file.is_file() and not place.exists():
            place.parent.mkdir(parents=True, exist_ok=True)
            place.write_bytes(file.read_bytes())
