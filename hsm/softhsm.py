"""Make a SoftHSM token, for development and tests.

SoftHSM finds its tokens by the environment variable SOFTHSM2_CONF, which it reads when it is initialised: the caller
sets it before any `Hsm` is opened.
"""

import contextlib
from collections.abc import Iterator
from pathlib import Path

from pkcs11.constants import TokenFlag
from pkcs11.exceptions import PKCS11Error

from hsm.errors import HsmMisconfigured
from hsm.module import Module, load_module

PLACES = (
    "/usr/lib/softhsm/libsofthsm2.so",
    "/usr/lib/x86_64-linux-gnu/softhsm/libsofthsm2.so",
    "/usr/lib/aarch64-linux-gnu/softhsm/libsofthsm2.so",
    "/usr/lib64/pkcs11/libsofthsm2.so",
    "/usr/local/lib/softhsm/libsofthsm2.so",
    "/opt/homebrew/lib/softhsm/libsofthsm2.so",
)
LONGEST_LABEL = 32
SHORTEST_PIN, LONGEST_PIN = 4, 255
_DRAIN = 5.0


def find_module() -> Path:
    """Return where SoftHSM's module is installed. Raises HsmMisconfigured with the line that installs it."""
    for place in PLACES:
        if Path(place).is_file():
            return Path(place)
    raise HsmMisconfigured("SoftHSM is not installed", advice="apt install softhsm2")


def write_config(directory: Path) -> Path:
    """Write `softhsm2.conf` and make the token folder in `directory`, both for the owner alone; return the file."""
    tokens = directory / "tokens"
    tokens.mkdir(mode=0o700, parents=True, exist_ok=True)
    config = directory / "softhsm2.conf"
    config.touch(mode=0o600)
    for place, mode in ((tokens, 0o700), (config, 0o600)):
        place.chmod(mode)  # also what was there before
    config.write_text(f"directories.tokendir = {tokens}\nobjectstore.backend = file\nlog.level = ERROR\n")
    return config


def init_token(module: str | Path, label: str, so_pin: str, pin: str) -> None:
    """Make a token through the module itself, so that no PIN stands on a command line.

    `label` has 1 to 32 bytes of UTF-8, each PIN 4 to 255. Raises HsmMisconfigured when a token of that label exists,
    no slot is free, or the module refuses; ValueError for a label or PIN of the wrong length.
    """
    if not 1 <= len(label.encode()) <= LONGEST_LABEL or label != label.strip():
        raise ValueError("a token label has 1 to 32 bytes and no space at its ends")
    if not all(SHORTEST_PIN <= len(secret.encode()) <= LONGEST_PIN for secret in (so_pin, pin)):
        raise ValueError("a PIN has 4 to 255 bytes")
    loaded = load_module(module)
    try:
        with _entered(loaded):
            _init_token(loaded, label, so_pin, pin)
    except PKCS11Error as error:
        raise HsmMisconfigured(
            f"the module does not make a token: {type(error).__name__}",
            advice="see that SOFTHSM2_CONF names a configuration whose token folder can be written",
        ) from error


def has_token(module: str | Path, label: str) -> bool:
    """Tell whether there is a token of that label. Raises HsmMisconfigured when the module does not work."""
    loaded = load_module(module)
    try:
        with _entered(loaded):
            return any(token.label == label for token in loaded.tokens())
    except PKCS11Error as error:
        raise HsmMisconfigured(
            f"the module does not list its tokens: {type(error).__name__}",
            advice="see that SOFTHSM2_CONF names a configuration whose token folder can be read",
        ) from error


@contextlib.contextmanager
def _entered(module: Module) -> Iterator[None]:
    module.acquire()
    try:
        module.enter(_DRAIN)
        try:
            yield
        finally:
            module.leave()
    finally:
        module.release(_DRAIN)


def _init_token(module: Module, label: str, so_pin: str, pin: str) -> None:
    tokens = module.tokens()
    if any(token.label == label for token in tokens):
        raise HsmMisconfigured(f"there is a token labelled {label!r} already", advice="use it, or choose another label")
    free = [token.slot.slot_id for token in tokens if not token.flags & TokenFlag.TOKEN_INITIALIZED]
    if not free:
        raise HsmMisconfigured("the module offers no slot without a token", advice="remove a token")
    module.calls.init_token(free[0], so_pin, label)
    made = next(token for token in module.tokens() if token.label == label)
    # Closing this session logs the security officer out: nobody else can be logged into a token this new.
    with made.open(rw=True, so_pin=so_pin) as session:
        session.init_pin(pin)
