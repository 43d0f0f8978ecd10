"""What profiles and roles shall be: settings on the command line, and in YAML or JSON."""

from collections.abc import Iterable
from typing import Any

import click
import yaml

from cli.online.inputs import text_of


def described(settings: Iterable[str], file: str | None) -> dict[str, Any]:
    """Return the settings of `file`, as `show` prints them, and those of `KEY=VALUE`, which go before.

    Raises:
        UsageError: there are none, or they cannot be read.
    """
    found = _document(file) if file else {}
    for setting in settings:
        key, separator, value = setting.partition("=")
        if not separator or not key:
            raise click.UsageError(f"{setting!a} is not of the form KEY=VALUE")
        found[key] = value
    if not found:
        raise click.UsageError("give settings: KEY=VALUE, or --file")
    return found


def _document(file: str) -> dict[str, Any]:
    """Return the settings in a file: JSON is YAML, and the version is not one's own to set."""
    try:
        document = yaml.safe_load(text_of(file))
    except (ValueError, RecursionError, yaml.YAMLError):
        raise click.UsageError(f"{file} is neither YAML nor JSON") from None
    if not isinstance(document, dict) or not all(isinstance(key, str) for key in document):
        raise click.UsageError(f"{file} holds no settings")
    return {key: value for key, value in document.items() if key != "version"}
