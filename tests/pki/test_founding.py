"""Founding and booting a house: each step once, safe to run again, and one clear error for what is wrong."""

import dataclasses
import shutil
from collections.abc import Callable
from pathlib import Path

import pytest
from sqlalchemy import delete, func, select, update

from hsm import HsmKeyNotFound, HsmLoginFailed, HsmMisconfigured
from pki.config import Config
from pki.core import Core, open_core
from pki.errors import Misconfigured
from pki.founding import found
from pki.storage.tables import deks, issuers, keks, profiles, sealed_values, settings
from tests.house_fixture import configure
from tests.tokens import SoftToken, fresh_token


@pytest.fixture
def bare(migrated_url: str, soft_token: SoftToken, tmp_path: Path) -> Config:
    """Give the configuration of a house that was never founded, with a token of its own."""
    return configure(migrated_url, soft_token, tmp_path)


@pytest.fixture
def keys_in(soft_token: SoftToken) -> Callable[[], int]:
    """Give a function that counts the keys in the token."""

    def count() -> int:
        with soft_token.open() as hsm:
            return hsm.sessions.run(1, lambda session: len(session.search({})))  # type: ignore[arg-type]

    return count


def _counts(core: Core) -> dict[str, int]:
    tables = (issuers, keks, deks, profiles, settings, sealed_values)
    with core.database.read() as tx:
        return {table.name: tx.execute(select(func.count()).select_from(table)).scalar_one() for table in tables}


def test_founding_twice_makes_everything_once(bare: Config) -> None:
    """Second run: no re-creation."""
    found(bare)
    core = open_core(bare)
    first = _counts(core), core.issuers.named("root").certificate
    core.close()
    found(bare)
    core = open_core(bare)
    assert (_counts(core), core.issuers.named("root").certificate) == first
    core.close()


def test_every_private_key_of_a_founded_house_stays_in_the_token(bare: Config) -> None:
    """CA01 F06 K1: root, intermediate and KEK were made in the token and cannot leave it."""
    found(bare)
    core = open_core(bare)
    with core.database.read() as tx:
        key_ids = [
            *tx.execute(select(issuers.c.key_id_hex)).scalars(),
            *tx.execute(select(keks.c.key_id_hex)).scalars(),
        ]
    assert len(key_ids) == 3
    for key_id in key_ids:
        seen = core.hsm.attributes(bytes.fromhex(key_id))
        assert (seen.stays_in_token, seen.never_extractable, seen.local, len(seen.uses) in {1, 2}) == (True,) * 4
    core.close()


def test_a_founding_that_was_cut_short_goes_on_where_it_stopped(bare: Config) -> None:
    """Cut after the KEK, after the root: what is there stays, and no second key is left in the token."""
    found(bare)
    core = open_core(bare)
    keys = core.hsm.sessions.run(1, lambda session: len(session.search({})))  # type: ignore[arg-type]
    core.database.write(lambda tx: tx.execute(update(issuers).where(issuers.c.name != "root").values(state="reserved")))
    core.database.write(lambda tx: tx.execute(delete(profiles)))
    core.close()
    found(bare)
    core = open_core(bare)
    assert core.hsm.sessions.run(1, lambda session: len(session.search({}))) == keys  # type: ignore[arg-type]
    assert core.profiles.names() == ["default"]
    assert [issuer.name for issuer in core.issuers.active()] == ["intermediate", "root"]
    core.close()


def test_a_new_database_never_touches_the_keys_of_another(
    bare: Config, tmp_path: Path, keys_in: Callable[[], int]
) -> None:
    """A lost database must not cost the keys: founding over the same token adds, and removes nothing."""
    found(bare)
    before = keys_in()
    other = dataclasses.replace(bare, database=dataclasses.replace(bare.database, url=f"sqlite:///{tmp_path}/other.db"))
    found(other)
    assert keys_in() == 2 * before  # type: ignore[operator]
    open_core(bare).close()


def test_two_installations_have_different_names(bare: Config, tmp_path: Path) -> None:
    """Clients look issuers up by their subject: no two are alike."""
    other = dataclasses.replace(bare, database=dataclasses.replace(bare.database, url=f"sqlite:///{tmp_path}/other.db"))
    subjects = set()
    for config in (bare, other):
        found(config)
        core = open_core(config)
        subjects |= {issuer.certificate.subject for issuer in core.issuers.active()}
        core.close()
    assert len(subjects) == 4


def test_what_was_never_founded_says_so(bare: Config, tmp_path: Path) -> None:
    """One clear line, with the command that mends it; an empty database names `sealward migrate`."""
    with pytest.raises(Misconfigured, match="sealward init"):
        open_core(bare)
    empty = dataclasses.replace(bare, database=dataclasses.replace(bare.database, url=f"sqlite:///{tmp_path}/empty.db"))
    with pytest.raises(Misconfigured, match="sealward migrate"):
        open_core(empty)
    nothing = dataclasses.replace(bare, database=dataclasses.replace(bare.database, url=""))
    with pytest.raises(Misconfigured, match=r"\[database\] url"):
        open_core(nothing)


def test_a_database_without_its_token_opens_nothing(bare: Config, tmp_path: Path, soft_token: SoftToken) -> None:
    """A01 T4: the copied database holds no key that opens anything."""
    found(bare)
    thief = configure(bare.database.url, fresh_token(), tmp_path)
    assert soft_token.label != thief.hsm.token_label
    with pytest.raises(HsmKeyNotFound):
        open_core(thief)


def test_pin_file_and_module_errors_are_one_line(bare: Config, tmp_path: Path) -> None:
    """Wrong PIN, missing module, open or empty file: each names the key to mend."""
    found(bare)
    pin = tmp_path / "other-pin"
    with pytest.raises(Misconfigured, match=r"cannot read .*pin_file"):
        open_core(_with_hsm(bare, pin_file=pin))
    pin.touch(mode=0o600)
    with pytest.raises(Misconfigured, match="is empty"):
        open_core(_with_hsm(bare, pin_file=pin))
    pin.write_text("wrong-pin\n")
    with pytest.raises(HsmLoginFailed):
        open_core(_with_hsm(bare, pin_file=pin))
    pin.chmod(0o640)
    with pytest.raises(Misconfigured, match="chmod 600"):
        open_core(_with_hsm(bare, pin_file=pin))
    with pytest.raises(Misconfigured, match=r"\[hsm\] module"):
        open_core(_with_hsm(bare, module=""))
    with pytest.raises(HsmMisconfigured):
        open_core(_with_hsm(bare, module=str(tmp_path / "missing.so")))


def _with_hsm(config: Config, **changes: object) -> Config:
    return dataclasses.replace(config, hsm=dataclasses.replace(config.hsm, **changes))  # type: ignore[arg-type]


def test_service_keys_are_the_same_for_all_and_sealed(bare: Config) -> None:
    """A01: two openings read one key; its octets stand nowhere in the database's files."""
    found(bare)
    first, second = open_core(bare), open_core(bare)
    key = first.service_keys.get("nonces")
    assert key == second.service_keys.get("nonces")
    assert len(key) == 32
    assert key != first.service_keys.get("other")
    first.close()
    second.close()
    if bare.database.url.startswith("sqlite"):
        folder = Path(bare.database.url.removeprefix("sqlite:///")).parent
        files = [path for path in folder.glob("house.db*") if path.is_file()]
        assert files
        assert not any(key in path.read_bytes() or key.hex().encode() in path.read_bytes() for path in files)


def test_tokens_are_kept_by_keyed_digest_only(core: Core) -> None:
    """A10 T4: the database holds no usable token; revoking a kind revokes all of it."""
    token = core.tokens.make("root", ("root",), None)
    with core.database.read() as tx:
        row = tx.exec_driver_sql("SELECT digest, revoked_at FROM tokens").one()
    assert token not in str(row)
    assert row[1] is None
    assert core.tokens.revoke_kind("root") == 1
    assert core.tokens.revoke_kind("root") == 0


def test_a_house_moves_with_its_database_file(bare: Config, tmp_path: Path) -> None:
    """A copied SQLite file beside the same token is the same house."""
    if not bare.database.url.startswith("sqlite"):
        bare = dataclasses.replace(
            bare, database=dataclasses.replace(bare.database, url=f"sqlite:///{tmp_path}/original.db")
        )
    found(bare)
    source = Path(bare.database.url.removeprefix("sqlite:///"))
    shutil.copyfile(source, tmp_path / "copy.db")
    url = f"sqlite:///{tmp_path}/copy.db"
    core = open_core(dataclasses.replace(bare, database=dataclasses.replace(bare.database, url=url)))
    assert core.issuers.named("intermediate").certificate
    core.close()
