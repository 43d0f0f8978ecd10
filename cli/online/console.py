"""The options that every online command takes, and what they give it."""

import dataclasses
import functools
from collections.abc import Callable, Mapping, Sequence
from typing import Any

import click

from cli.online import output
from cli.online.client import Client
from cli.online.exits import NotFoundError
from cli.online.settings import Settings, resolve

Command = Callable[..., Any]

FIELD = click.option("--field", metavar="NAME", help="Print the value of this member alone.")
"""For commands that show one object: `Console.item` takes it."""
YES = click.option("--yes", is_flag=True, help="Do not ask whether it is meant.")
"""For commands after which data are gone for good: `inputs.confirm` takes it."""


class Console:
    """One command's connection: the settings, the client over them, and the chosen output."""

    def __init__(self, settings: Settings) -> None:
        self.settings = settings
        self.client = Client(settings, _warn)

    def as_holder(self, token: str | None) -> Client:
        """Return a client that acts by another token than the one in the settings, or by none."""
        return Client(dataclasses.replace(self.settings, token=token), _warn)

    def item(self, item: Mapping[str, Any], field: str | None = None) -> None:
        """Print one object, or a member of it alone.

        Raises:
            NotFoundError: it has no such member.
        """
        if field is None:
            output.show_item(item, self.settings.output)
        elif field in item:
            output.show_value(item[field])
        else:
            raise NotFoundError(f"there is no member {field!a}; there are {', '.join(item) or 'none'}")

    def items(self, items: Sequence[Mapping[str, Any]], *columns: str) -> None:
        """Print a list of objects."""
        output.show_items(items, columns, self.settings.output)

    def names(self, names: Sequence[str]) -> None:
        """Print a list of names."""
        output.show_names(names, self.settings.output)


def _warn(text: str) -> None:
    output.talk(f"Warning: {text}")


def online(command: Command) -> Command:
    """Give a command its options for reaching the service, and a `Console` as its first argument."""

    @click.option("--address", metavar="URL", help="The service.  [env: SEALWARD_ADDR]")
    @click.option("--ca-file", metavar="FILE", help="The root to trust, in PEM.  [env: SEALWARD_CACERT]")
    @click.option("--context", metavar="NAME", help="The section of config.toml with these.  [env: SEALWARD_CONTEXT]")
    @click.option("--timeout", metavar="SECONDS", help="How long to wait for an answer.  [env: SEALWARD_TIMEOUT]")
    @click.option("-o", "--output", metavar="FORM", help="table, json or yaml.  [env: SEALWARD_OUTPUT]")
    @functools.wraps(command)
    def wrapped(**arguments: Any) -> Any:
        given = {name: arguments.pop(name) for name in ("address", "ca_file", "context", "timeout", "output")}
        return command(Console(resolve(given)), **arguments)

    return wrapped
