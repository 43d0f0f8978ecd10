"""`sealward ssh role`: who may get which OpenSSH certificates."""

import click

from cli.online.console import FIELD, Console, online
from cli.online.descriptions import described
from cli.online.paths import at, one

_MOUNT = click.option("--mount", default="ssh", show_default=True, help="Where the engine is mounted.")
_KEY_TYPE = "ca"
"""What every role has here, and the API wants to be told."""


@click.group
def role() -> None:
    """Roles of OpenSSH certificates: for which names, how long, with what in them."""


@role.command("list")
@online
@_MOUNT
def list_(console: Console, *, mount: str) -> None:
    """List the names of all roles."""
    console.names(console.client.list(at(mount, "roles")))


@role.command
@online
@click.argument("name")
@FIELD
@_MOUNT
def show(console: Console, *, name: str, field: str | None, mount: str) -> None:
    """Show a role."""
    console.item(console.client.read(_path(mount, name)).data, field)


@role.command("set")
@online
@click.argument("name")
@click.argument("settings", nargs=-1, metavar="[KEY=VALUE]...")
@click.option("--file", "file", metavar="FILE", help="Settings in YAML or JSON, from FILE or standard input (-).")
@_MOUNT
def set_(console: Console, *, name: str, settings: tuple[str, ...], file: str | None, mount: str) -> None:
    """Write a role: what is not set has its default, which allows nothing.

    For example: sealward ssh role set deployers allow_user_certificates=true allowed_users=deploy default_user=deploy
    """
    console.client.write(_path(mount, name), {"key_type": _KEY_TYPE, **described(settings, file)})


@role.command
@online
@click.argument("name")
@_MOUNT
def delete(console: Console, *, name: str, mount: str) -> None:
    """Delete a role; certificates signed by it stay as they are."""
    console.client.delete(_path(mount, name))


def _path(mount: str, name: str) -> str:
    return at(mount, "roles", one(name))
