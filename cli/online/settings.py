"""Where the service is, and with which token: by options, else the environment, else a section of a file."""

import ipaddress
import math
import os
import ssl
import tomllib
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

import click

from cli.files import write_private
from cli.online.exits import Exit

DEFAULT_ADDRESS = "https://127.0.0.1:8443"
TOKEN_VARIABLE = "SEALWARD_TOKEN"  # noqa: S105 - the name of the variable
_DEFAULT_TIMEOUT = "60"
_KEYS = ("address", "ca_file", "token_file", "output", "timeout")
_VARIABLES = {
    "address": "SEALWARD_ADDR",
    "ca_file": "SEALWARD_CACERT",
    "output": "SEALWARD_OUTPUT",
    "timeout": "SEALWARD_TIMEOUT",
}
_OTHERS = 0o077


class SettingsError(click.ClickException):
    """The settings cannot be used; the message says what to mend."""

    exit_code = int(Exit.USAGE)


@dataclass(frozen=True, slots=True)
class Settings:
    """What every online command needs; `token` None means that nobody has logged in. `timeout` is in seconds."""

    address: str
    ca_file: str | None
    token_file: Path
    output: str
    timeout: float
    token: str | None


def folder() -> Path:
    """Return the user's folder for Sealward (XDG base directories)."""
    return Path(os.environ.get("XDG_CONFIG_HOME") or Path.home() / ".config") / "sealward"


def resolve(given: Mapping[str, str | None]) -> Settings:
    """Return the settings: `given` by options, else the environment, else the file.

    Raises:
        SettingsError: one of them is wrong, or the token's file is open to others.
    """
    context = given.get("context") or os.environ.get("SEALWARD_CONTEXT") or "default"
    written = _read_context(context)
    environment = {key: os.environ.get(variable) for key, variable in _VARIABLES.items()}
    value = {key: given.get(key) or environment.get(key) or written.get(key) for key in _KEYS}
    token_file = Path(value["token_file"] or folder() / f"{context}.token").expanduser()
    token = os.environ.get(TOKEN_VARIABLE)
    return Settings(
        address=_known_address(value["address"] or DEFAULT_ADDRESS),
        ca_file=_known_ca_file(value["ca_file"]),
        token_file=token_file,
        output=_known_output(value["output"] or "table"),
        timeout=_known_timeout(value["timeout"] or _DEFAULT_TIMEOUT),
        token=checked_token(token, TOKEN_VARIABLE) if token else read_token(token_file),
    )


def _known_address(address: str) -> str:
    """Return the address without a slash at its end. A token is sent in clear to nobody but this machine."""
    try:
        parts = urlsplit(address)
        host, _ = parts.hostname, parts.port
    except ValueError:
        host, parts = None, urlsplit("")
    if not host or parts.scheme not in {"https", "http"} or parts.query or parts.fragment or "@" in parts.netloc:
        raise SettingsError(f"the address must be such as {DEFAULT_ADDRESS}: https://, a host, a port, and no user")
    if parts.scheme == "http" and not _is_loopback(host):
        raise SettingsError("the address must begin with https://: over http the token would be sent in clear")
    return address.rstrip("/")


def _is_loopback(host: str) -> bool:
    try:
        return ipaddress.ip_address(host).is_loopback
    except ValueError:
        return host == "localhost"


def _known_ca_file(ca_file: str | None) -> str | None:
    if ca_file is None:
        return None
    path = str(Path(ca_file).expanduser())
    try:
        ssl.create_default_context(cafile=path)
    except ssl.SSLError:
        raise SettingsError(f"{path} holds no certificate in PEM: name the root's file by --ca-file") from None
    except OSError as error:
        raise SettingsError(f"cannot read {path}, the root to trust: {error.strerror}") from None
    return path


def _known_output(output: str) -> str:
    if output not in {"table", "json", "yaml"}:
        raise SettingsError(f"there is no output {output!a}: choose table, json or yaml")
    return output


def _known_timeout(text: str) -> float:
    try:
        seconds = float(text)
    except ValueError:
        seconds = math.nan
    if not 0 < seconds <= 3600:  # noqa: PLR2004 - an hour
        raise SettingsError(f"there is no timeout {text!a}: give seconds, such as 60")
    return seconds


def _read_context(context: str) -> dict[str, str]:
    path = folder() / "config.toml"
    try:
        document: dict[str, Any] = tomllib.loads(path.read_text(encoding="utf-8"))
    except FileNotFoundError:
        document = {}
    except (OSError, ValueError) as error:
        raise SettingsError(f"cannot read {path}: {error}") from None
    if context not in document:
        if context == "default":
            return {}
        raise SettingsError(f"{path} has no section [{context}], which --context or SEALWARD_CONTEXT names")
    section: Any = document[context]
    if not isinstance(section, dict) or section.keys() - set(_KEYS) or not _all_texts(section):
        raise SettingsError(f"{path} [{context}]: its keys are {', '.join(_KEYS)}, and their values texts")
    return dict(section)


def _all_texts(section: Mapping[str, Any]) -> bool:
    return all(isinstance(item, str) for item in section.values())


def checked_token(token: str, source: str) -> str:
    """Return a token that may stand in a header.

    Raises:
        SettingsError: it may not, so it is none; it is not shown.
    """
    if not token.isascii() or not token.isprintable() or " " in token:
        raise SettingsError(f"what {source} holds is no token: it has spaces or other characters that no token has")
    return token


def read_token(path: Path) -> str | None:
    """Return the token that `login` kept, if any.

    Raises:
        SettingsError: others can read the file, or it holds no token.
    """
    try:
        mode = path.stat().st_mode
        text = path.read_text(encoding="utf-8").strip()
    except FileNotFoundError:
        return None
    except (OSError, UnicodeDecodeError) as error:
        raise SettingsError(f"cannot read {path}: {getattr(error, 'strerror', None) or 'it is no text'}") from None
    if mode & _OTHERS:
        raise SettingsError(f"{path} is open to other users: chmod 600 {path}")
    return checked_token(text, str(path)) if text else None


def keep_token(path: Path, token: str) -> None:
    """Write the token where only its owner can read it. Raises OSError."""
    path.parent.mkdir(mode=0o700, parents=True, exist_ok=True)
    write_private(path, token.encode() + b"\n")


def forget_token(path: Path) -> None:
    """Remove what `keep_token` wrote. Raises OSError."""
    path.unlink(missing_ok=True)
