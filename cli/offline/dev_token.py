"""The SoftHSM token of `sealward dev`: made whole or not at all, with random PINs in files for the owner alone."""

import functools
import os
import secrets
import shutil
from pathlib import Path

from cli.files import write_private
from cli.offline.data_directory import DataDirectory
from cli.offline.dev_config import TOKEN_LABEL
from cli.offline.processes import run_forked
from hsm import softhsm

CONF_VARIABLE = "SOFTHSM2_CONF"
_PIN_OCTETS = 24


def ensure_token(data: DataDirectory, module: str) -> None:
    """Make the token unless it is there, and let this process and its children find it.

    Raises:
        SealwardError, OSError: it was not made.
    """
    pin, so_pin = _ensure_pin(data.pin), _ensure_pin(data.so_pin)
    if not data.token.exists():
        fresh = data.path / ".token"
        shutil.rmtree(fresh, ignore_errors=True)
        fresh.mkdir(mode=0o700)
        run_forked(functools.partial(_make, module, fresh, so_pin, pin))
        fresh.rename(data.token)
    use_token(data)


def use_token(data: DataDirectory) -> None:
    """Let this process and its children find the token; its absolute path is written anew, should it have moved."""
    os.environ[CONF_VARIABLE] = str(softhsm.write_config(data.token))


def _make(module: str, folder: Path, so_pin: str, pin: str) -> None:
    os.environ[CONF_VARIABLE] = str(softhsm.write_config(folder))
    softhsm.init_token(module, TOKEN_LABEL, so_pin, pin)


def _ensure_pin(path: Path) -> str:
    if not path.exists():
        write_private(path, secrets.token_urlsafe(_PIN_OCTETS).encode() + b"\n")
    return path.read_text(encoding="ascii").strip()
