"""`sealward profile`: what certificates may be issued, and with what in them."""

import click

from cli.online.console import FIELD, Console, online
from cli.online.descriptions import described
from cli.online.paths import at, one

_MOUNT = click.option("--mount", default="pki", show_default=True, help="Where the engine is mounted.")


@click.group
def profile() -> None:
    """Profiles of X.509 certificates; clients of the API know them as roles."""


@profile.command("list")
@online
@_MOUNT
def list_(console: Console, *, mount: str) -> None:
    """List the names of all profiles."""
    console.names(console.client.list(at(mount, "roles")))


@profile.command
@online
@click.argument("name")
@FIELD
@_MOUNT
def show(console: Console, *, name: str, field: str | None, mount: str) -> None:
    """Show a profile."""
    console.item(console.client.read(_path(mount, name)).data, field)


@profile.command("set")
@online
@click.argument("name")
@click.argument("settings", nargs=-1, metavar="[KEY=VALUE]...")
@click.option("--file", "file", metavar="FILE", help="Settings in YAML or JSON, from FILE or standard input (-).")
@click.option("--cas", type=click.IntRange(min=0), help="Write only if this is its version now; 0: only if new.")
@_MOUNT
def set_(
    console: Console, *, name: str, settings: tuple[str, ...], file: str | None, cas: int | None, mount: str
) -> None:
    """Write a profile: what is not set has its default, which allows no name.

    For example: sealward profile set web allowed_domains=example.com allow_subdomains=true ttl=12h
    """
    body = described(settings, file)
    console.item(console.client.write(_path(mount, name), body | ({} if cas is None else {"cas": cas})).data)


@profile.command
@online
@click.argument("name")
@_MOUNT
def delete(console: Console, *, name: str, mount: str) -> None:
    """Delete a profile; certificates issued by it stay as they are."""
    console.client.delete(_path(mount, name))


def _path(mount: str, name: str) -> str:
    return at(mount, "roles", one(name))
