"""`sealward check-config`: the configuration in force, without secrets, or its first error."""

import dataclasses
import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import click
from sqlalchemy import make_url
from sqlalchemy.exc import ArgumentError

from cli.offline.settings import config_option, load_complete
from pki.config import Config, Endpoint


@click.command
@config_option
@click.option("--output", type=click.Choice(["toml", "json"]), default="toml", show_default=True)
def command(*, file: Path, output: str) -> None:
    """Show the configuration in force, defaults included, or its first error."""
    document = to_document(load_complete(file))
    click.echo(json.dumps(document, indent=2) if output == "json" else "\n".join(to_toml(document)))


def to_document(config: Config) -> dict[str, Any]:
    """Return the configuration as plain values; the database's password is left out."""
    document: dict[str, Any] = _plain(config)
    document["database"]["url"] = _without_password(config.database.url)
    return document


def to_toml(document: dict[str, Any], section: str = "") -> Iterator[str]:
    """Give the document line by line, as the configuration file would say it; what is not set is left out."""
    values = {key: value for key, value in document.items() if not isinstance(value, dict) and value not in (None, "")}
    if values:
        yield f"[{section}]"
        yield from (f"{key} = {json.dumps(value)}" for key, value in values.items())
        yield ""
    for key, value in document.items():
        if isinstance(value, dict):
            yield from to_toml(value, f"{section}.{key}" if section else key)


def _plain(value: Any) -> Any:
    if isinstance(value, Endpoint):
        return str(value)
    if dataclasses.is_dataclass(value):
        return {item.name: _plain(getattr(value, item.name)) for item in dataclasses.fields(value)}
    if isinstance(value, tuple):
        return [_plain(item) for item in value]
    return value if isinstance(value, (str, int, float, bool, type(None))) else str(value)


def _without_password(url: str) -> str:
    try:
        return make_url(url).render_as_string(hide_password=True)
    except ArgumentError:
        return "(it cannot be read)" if url else ""
