"""Clocks that are wrong, step, or stand at dates that have broken others (X7)."""

import dataclasses
import subprocess
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest
from cryptography import x509
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.hazmat.primitives.serialization import Encoding

from pki.authority.issue import Wanted
from pki.authority.names import Name
from pki.config import Config
from pki.core import Core, open_core
from pki.errors import BadClock
from pki.founding import found
from pki.ledger.entries import Entry
from tests.clocks import FrozenClock
from tests.house_fixture import configure
from tests.tokens import SoftToken


def _issue(core: Core) -> Entry:
    key = ec.generate_private_key(ec.SECP256R1()).public_key()
    return core.gate.issue(Wanted("default", key, (Name("dns", "a.example"),), "test:clock"))


def _certificate(entry: Entry) -> x509.Certificate:
    return x509.load_der_x509_certificate(entry.certificate or b"")


@pytest.mark.parametrize("step", [timedelta(hours=1), timedelta(days=1)])
def test_a_clock_that_runs_ahead_dates_certificates_by_it(
    core: Core, house_clock: FrozenClock, step: timedelta
) -> None:
    """X7: every certificate lies within its profile's bounds, and within its issuer's."""
    house_clock.advance(step)
    certificate = _certificate(_issue(core))
    assert certificate.not_valid_before_utc == house_clock.now() - timedelta(seconds=60)
    assert certificate.not_valid_after_utc - house_clock.now() < timedelta(days=1)


@pytest.mark.parametrize("step", [timedelta(hours=-1), timedelta(days=-1)])
def test_a_clock_that_steps_back_while_running_stops_all_signing(
    core: Core, house_clock: FrozenClock, step: timedelta
) -> None:
    """X7: behind the last event by more than five minutes, neither certificates nor CRLs are made."""
    house_clock.advance(timedelta(days=2))
    entry = _issue(core)
    house_clock.advance(step)
    with pytest.raises(BadClock, match="set the clock"):
        _issue(core)
    core.revocation.revoke(entry, 4, "test:clock")  # what needs no date of ours still works
    with pytest.raises(BadClock):
        core.crls.publish(core.issuers.named("intermediate"))
    house_clock.advance(-step)
    assert _issue(core).state == "issued"


def test_a_small_step_back_is_nothing(core: Core, house_clock: FrozenClock) -> None:
    """Clocks are corrected by seconds all the time."""
    house_clock.advance(timedelta(hours=1))
    _issue(core)
    house_clock.advance(timedelta(minutes=-4))
    assert _issue(core).state == "issued"


def test_the_tolerance_is_the_operator_s(house_config: Config, house_clock: FrozenClock) -> None:
    """After a clock that was wrongly ahead, a raised tolerance is the way out that the error names."""
    patient = dataclasses.replace(
        house_config, authority=dataclasses.replace(house_config.authority, clock_tolerance=7 * 86_400)
    )
    core = open_core(patient, house_clock)
    house_clock.advance(timedelta(days=6))
    _issue(core)
    house_clock.advance(timedelta(days=-5))
    assert _issue(core).state == "issued"
    core.close()


@pytest.mark.parametrize(
    "moment",
    [
        datetime(2038, 1, 19, 3, 14, 7, tzinfo=UTC),
        datetime(2049, 12, 31, 12, 0, tzinfo=UTC),
        datetime(2049, 12, 31, 23, 59, 59, tzinfo=UTC),
        datetime(2050, 1, 1, tzinfo=UTC),
        datetime(2028, 2, 29, 12, 0, tzinfo=UTC),
    ],
    ids=str,
)
def test_dates_that_have_broken_others(
    migrated_url: str, soft_token: SoftToken, tmp_path: Path, moment: datetime
) -> None:
    """S2 X7: 2038, UTCTime to GeneralizedTime within one certificate, a leap day: founded then, and a leaf."""
    config, clock = configure(migrated_url, soft_token, tmp_path), FrozenClock(moment)
    found(config, clock)
    core = open_core(config, clock)
    entry = _issue(core)
    certificate = _certificate(entry)
    # The issuers begin at the very second, so that nothing could be dated back.
    assert certificate.not_valid_before_utc == moment
    assert certificate.not_valid_after_utc == moment + timedelta(seconds=86_399)
    body = entry.tbs
    assert (b"\x17\x0d" in body) == (certificate.not_valid_before_utc.year < 2050)
    assert (b"\x18\x0f" in body) == (certificate.not_valid_after_utc.year >= 2050)
    (tmp_path / "root.pem").write_bytes(core.issuers.named("root").certificate.public_bytes(Encoding.PEM))
    (tmp_path / "chain.pem").write_text(core.gate.chain_pem(entry))
    at = str(int((moment + timedelta(hours=1)).timestamp()))
    command = ["openssl", "verify", "-x509_strict", "-attime", at, "-CAfile", "root.pem", "-untrusted", "chain.pem"]
    done = subprocess.run([*command, "chain.pem"], cwd=tmp_path, capture_output=True, text=True, check=False)
    core.close()
    assert done.returncode == 0, done.stdout + done.stderr
