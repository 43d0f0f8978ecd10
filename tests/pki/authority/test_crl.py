"""CRLs: complete, numbered upwards whatever happens, and seen by other implementations."""

import subprocess
from concurrent.futures import ThreadPoolExecutor
from datetime import timedelta
from pathlib import Path

import pytest
from cryptography import x509
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.hazmat.primitives.serialization import Encoding
from sqlalchemy import delete, select

from pki.authority.issue import Wanted
from pki.authority.names import Name
from pki.core import Core
from pki.errors import Conflict, HsmFailure, NotFound, Rejected
from pki.ledger.entries import Entry
from pki.storage.tables import crls
from tests.clocks import FrozenClock


def _issue(core: Core, name: str = "a.example") -> Entry:
    key = ec.generate_private_key(ec.SECP256R1()).public_key()
    return core.gate.issue(Wanted("default", key, (Name("dns", name),), "test:me"))


def _published(core: Core, name: str = "intermediate") -> list[x509.CertificateRevocationList]:
    query = select(crls.c.der).where(crls.c.issuer_id == core.issuers.named(name).id, crls.c.state == "published")
    with core.database.read() as tx:
        return [x509.load_der_x509_crl(der) for der in tx.execute(query.order_by(crls.c.number)).scalars()]


def _number(crl: x509.CertificateRevocationList) -> int:
    return crl.extensions.get_extension_for_class(x509.CRLNumber).value.crl_number


@pytest.mark.parametrize("reason", [0, 1, 3, 4, 5])
def test_a_revoked_certificate_is_refused_by_openssl(core: Core, tmp_path: Path, reason: int) -> None:
    """CA13 S8 X9: good before, revoked after, with its reason; reason 0 is written nowhere."""
    entry = _issue(core)
    assert _openssl(core, tmp_path, entry)[0] == 0
    core.revocation.revoke(entry, reason, "test:me")
    assert core.crls.publish_due() == 1
    code, text = _openssl(core, tmp_path, entry)
    assert code != 0
    assert "certificate revoked" in text
    revoked = _published(core)[-1].get_revoked_certificate_by_serial_number(int(entry.serial, 16))
    assert revoked is not None
    reasons = [item.value.reason for item in revoked.extensions if isinstance(item.value, x509.CRLReason)]
    names = {1: "keyCompromise", 3: "affiliationChanged", 4: "superseded", 5: "cessationOfOperation"}
    assert [item.value for item in reasons] == ([names[reason]] if reason else [])


def _openssl(core: Core, folder: Path, entry: Entry) -> tuple[int, str]:
    core.crls.publish_due()
    (folder / "chain.pem").write_text(core.gate.chain_pem(entry))
    root = core.issuers.named("root").certificate
    lists = [_published(core)[-1], _published(core, "root")[-1]]
    (folder / "root.pem").write_bytes(root.public_bytes(Encoding.PEM))
    (folder / "crls.pem").write_bytes(b"".join(item.public_bytes(Encoding.PEM) for item in lists))
    command = ["openssl", "verify", "-x509_strict", "-crl_check_all", "-CRLfile", "crls.pem"]
    command += ["-CAfile", "root.pem", "-untrusted", "chain.pem", "chain.pem"]
    done = subprocess.run(command, cwd=folder, capture_output=True, text=True, check=False)
    return done.returncode, done.stdout + done.stderr


def test_an_empty_crl_has_no_list_and_verifies(core: Core) -> None:
    """S8, RFC 5280 5.1.2.6: absent rather than empty; AKI and number there, nextUpdate ahead."""
    crl = _published(core)[-1]
    issuer = core.issuers.named("intermediate").certificate
    assert len(crl) == 0
    assert crl.is_signature_valid(issuer.public_key())  # type: ignore[arg-type]
    assert crl.next_update_utc is not None
    assert crl.next_update_utc - crl.last_update_utc == timedelta(hours=24)
    assert [item.oid.dotted_string for item in crl.extensions] == ["2.5.29.35", "2.5.29.20"]


def test_nothing_is_published_without_a_reason(core: Core, house_clock: FrozenClock) -> None:
    """A CRL is made for a revocation, and at half of the last one's life."""
    assert core.crls.publish_due() == 0
    house_clock.advance(timedelta(hours=11))
    assert core.crls.publish_due() == 0
    house_clock.advance(timedelta(hours=2))
    assert core.crls.publish_due() == 2


def test_numbers_rise_over_restore_and_a_clock_that_steps_back(core: Core, house_clock: FrozenClock) -> None:
    """X9, DESIGN 13: max(last + 1, unix time in ms), so that a restored database never gives a number twice."""
    issuer = core.issuers.named("intermediate")
    numbers = [_number(_published(core)[-1])]
    house_clock.advance(timedelta(seconds=1))
    numbers.append(core.crls.publish(issuer))
    house_clock.advance(timedelta(minutes=-4))
    numbers.append(core.crls.publish(issuer))
    assert numbers == sorted(set(numbers))
    core.database.write(lambda tx: tx.execute(delete(crls)))  # as if an old backup had been restored
    house_clock.advance(timedelta(hours=2))
    assert core.crls.publish(issuer) > max(numbers)


def test_an_expired_revoked_certificate_stays_for_one_more_crl(core: Core, house_clock: FrozenClock) -> None:
    """X9, RFC 5280 3.3: on the list until a CRL after its expiry has carried it, then off it."""
    entry = _issue(core)
    core.revocation.revoke(entry, 4, "test:me")
    core.crls.publish_due()
    house_clock.advance(timedelta(days=2))
    core.crls.publish_due()
    assert len(_published(core)[-1]) == 1
    house_clock.advance(timedelta(days=31))
    core.crls.publish_due()
    assert len(_published(core)[-1]) == 0


def test_revoking_twice_is_a_conflict_and_other_reasons_are_refused(core: Core) -> None:
    """X11: an allow-list of reasons; the first revocation stands."""
    entry = _issue(core)
    for reason in (-1, 2, 6, 7, 8, 9, 10, 11):
        with pytest.raises(Rejected) as caught:
            core.revocation.revoke(entry, reason, "test:me")
        assert caught.value.code == "badRevocationReason"
    core.revocation.revoke(entry, 4, "test:me")
    with pytest.raises(Conflict):
        core.revocation.revoke(entry, 1, "test:me")
    found = core.gate.find(entry.id)
    assert found is not None
    assert found.revocation_reason == 4


def test_eight_revocations_at_once_revoke_once(core: Core) -> None:
    """X11: a compare-and-swap decides."""
    entry = _issue(core)

    def revoke(reason: int) -> bool:
        try:
            core.revocation.revoke(entry, reason, "test:me")
        except Conflict:
            return False
        return True

    with ThreadPoolExecutor(8) as pool:
        assert sum(pool.map(revoke, [1, 3, 4, 5] * 2)) == 1


def test_a_forged_certificate_with_a_stored_serial_finds_nothing(core: Core) -> None:
    """X11: revocation is bound to the stored octets, not to issuer and serial."""
    entry = _issue(core)
    assert entry.certificate is not None
    assert core.revocation.find(entry.certificate).id == entry.id
    forged = bytearray(entry.certificate)
    forged[-1] ^= 1
    with pytest.raises(NotFound):
        core.revocation.find(bytes(forged))


def test_the_house_s_own_certificates_are_not_revoked_by_anybody(core: Core) -> None:
    """A CA or server certificate goes through no door's revocation."""
    core.server_certificate.renew_if_due()
    with core.database.read() as tx:
        from_root = tx.exec_driver_sql("SELECT certificate FROM certificates WHERE kind <> 'leaf'").scalars().all()
    assert len(from_root) == 3
    for der in from_root:
        with pytest.raises(Rejected, match="authority itself"):
            core.revocation.revoke(core.revocation.find(bytes(der)), 4, "test:me")


def test_without_the_hsm_the_old_crl_stays(core: Core, house_clock: FrozenClock) -> None:
    """K2: nothing half-published."""
    house_clock.advance(timedelta(hours=20))
    core.hsm.close()
    before = _number(_published(core)[-1])
    with pytest.raises(HsmFailure):
        core.crls.publish_due()
    assert _number(_published(core)[-1]) == before
