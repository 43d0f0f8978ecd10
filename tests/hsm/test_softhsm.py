"""Making a SoftHSM token: for its owner alone, no PIN on a command line, mistakes told."""

import stat
from pathlib import Path

import pytest

from hsm import Hsm, HsmLoginFailed, HsmMisconfigured, KeyAlgorithm, softhsm
from tests.tokens import SO_PIN, USER_PIN, SoftToken


def test_the_configuration_is_the_owners_alone(tmp_path: Path) -> None:
    """S-class: token files are encrypted under the PIN alone, so nobody else may read them; old places are mended."""
    loose = tmp_path / "tokens"
    loose.mkdir(mode=0o755)
    (tmp_path / "softhsm2.conf").touch(mode=0o644)
    config = softhsm.write_config(tmp_path)
    assert stat.S_IMODE(config.stat().st_mode) == 0o600
    assert stat.S_IMODE(loose.stat().st_mode) == 0o700
    assert f"directories.tokendir = {loose}\n" in config.read_text()
    assert softhsm.write_config(tmp_path) == config


def test_a_new_token_is_opened_with_its_pin(soft_token: SoftToken) -> None:
    """The token is there at once, empty, for the user's PIN and not the officer's."""
    with soft_token.open() as hsm:
        assert hsm.find_key_ids("ca") == []
    with pytest.raises(HsmLoginFailed):
        Hsm.open(soft_token.module, soft_token.label, SO_PIN)


def test_a_token_is_made_while_another_serves(hsm: Hsm, token_folder: Path) -> None:
    """Making a token disturbs nobody in the same process."""
    assert token_folder.is_dir()
    key_id = hsm.generate_key(KeyAlgorithm.AES_256, "kek")
    seen = hsm.generation
    softhsm.init_token(softhsm.find_module(), "beside", SO_PIN, USER_PIN)
    assert hsm.attributes(key_id).local
    assert hsm.generation == seen


def test_a_label_is_taken_once(soft_token: SoftToken) -> None:
    """Two tokens of one label could not be told apart."""
    with pytest.raises(HsmMisconfigured, match="already"):
        softhsm.init_token(soft_token.module, soft_token.label, SO_PIN, USER_PIN)


@pytest.mark.parametrize("label", ["", " spaced", "spaced ", "x" * 33, "é" * 17])
def test_a_label_of_the_wrong_length_is_refused(soft_token: SoftToken, label: str) -> None:
    """PKCS#11 pads labels with spaces to 32 bytes of UTF-8: others would come back changed."""
    with pytest.raises(ValueError, match="1 to 32 bytes"):
        softhsm.init_token(soft_token.module, label, SO_PIN, USER_PIN)


@pytest.mark.parametrize(("so_pin", "pin"), [("123", USER_PIN), (SO_PIN, "123"), (SO_PIN, "x" * 256)])
def test_a_pin_of_the_wrong_length_is_refused(soft_token: SoftToken, so_pin: str, pin: str) -> None:
    """SoftHSM takes 4 to 255 bytes; the error does not repeat the PIN."""
    with pytest.raises(ValueError, match="4 to 255 bytes") as refusal:
        softhsm.init_token(soft_token.module, "short", so_pin, pin)
    assert pin not in str(refusal.value)


def test_a_label_of_32_bytes_with_accents_works(token_folder: Path) -> None:
    """UTF-8 counts in bytes."""
    assert token_folder.is_dir()
    label = "é" * 16
    softhsm.init_token(softhsm.find_module(), label, SO_PIN, USER_PIN)
    with Hsm.open(softhsm.find_module(), label, USER_PIN) as hsm:
        hsm.check()


def test_a_missing_softhsm_is_told_with_the_line_that_installs_it(monkeypatch: pytest.MonkeyPatch) -> None:
    """The error says what to do."""
    monkeypatch.setattr(softhsm, "PLACES", ())
    with pytest.raises(HsmMisconfigured, match="apt install softhsm2"):
        softhsm.find_module()
