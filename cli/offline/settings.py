"""The configuration file of the commands that run a service for others."""

from collections.abc import Callable
from pathlib import Path
from typing import Any

import click

from pki.config import Config, load
from pki.errors import Misconfigured

DEFAULT_FILE = Path("/etc/sealward/sealward.toml")

config_option: Callable[[Callable[..., Any]], Callable[..., Any]] = click.option(
    "--config",
    "file",
    type=click.Path(path_type=Path),
    default=DEFAULT_FILE,
    show_default=True,
    envvar="SEALWARD_CONFIG",
    show_envvar=True,
    help="The configuration, in TOML.",
)


def load_complete(file: Path) -> Config:
    """Return the configuration in `file`, which must name what only the operator can know.

    Raises:
        Misconfigured: the file cannot be read, is wrong, or lacks a value.
    """
    config = load(file)
    needs = (
        (config.database.url or config.database.url_file, "[database] url, or url_file"),
        (config.hsm.module, "[hsm] module"),
        (config.server.base_url, "[server] base_url: every ACME URL begins with it"),
        (config.http.base_url, "[http] base_url: it stands in every certificate, as the place of the CRLs"),
    )
    for value, key in needs:
        if not value:
            raise Misconfigured(f"{file} lacks {key}", advice="set it; docs/reference/configuration.md shows each key")
    require_module(config.hsm.module)
    return config


def require_module(module: str) -> None:
    """Raise Misconfigured unless there is such a file, before anything is made for it."""
    if not Path(module).is_file():
        raise Misconfigured(f"there is no PKCS#11 module {module or '(none is named)'}", advice="mend [hsm] module")
