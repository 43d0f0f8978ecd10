"""`sealward mount`: which secrets engine or auth method answers below which path."""

import click

from cli.online.console import YES, Console, online
from cli.online.inputs import confirm
from cli.online.output import rows_of
from cli.online.paths import at

_COLUMNS = ("path", "type", "description", "options")
_AUTH = "auth/"
_KV_VERSION = "2"


@click.group
def mount() -> None:
    """Secrets engines, and below auth/ auth methods, by the path where each is mounted."""


@mount.command("list")
@online
def list_(console: Console) -> None:
    """List what is mounted."""
    engines = console.client.read("sys/mounts").data
    methods = console.client.read("sys/auth").data
    mounts = {**engines, **{_AUTH + path: about for path, about in methods.items()}}
    console.items(rows_of(mounts, "path"), *_COLUMNS)


@mount.command
@online
@click.argument("path")
@click.argument("type_", metavar="TYPE")
@click.option("--description", default="", help="What it is for.")
@click.option("--option", "options", multiple=True, metavar="NAME=VALUE", help="An option of the engine.")
def add(console: Console, *, path: str, type_: str, description: str, options: tuple[str, ...]) -> None:
    """Mount an engine of TYPE (kv, pki, ssh) at PATH, or a method (userpass, approle) at auth/PATH."""
    given = dict(map(_pair, options))
    if type_ == "kv":
        given.setdefault("version", _KV_VERSION)
    console.client.write(_at(path), {"type": type_, "description": description, "options": given})


@mount.command
@online
@click.argument("path")
@YES
def remove(console: Console, *, path: str, yes: bool) -> None:
    """Remove what is mounted at PATH, with all that it kept; an auth method's tokens end with it."""
    where = _at(path)
    confirm(f"this removes {path} and all that is in it", yes=yes)
    console.client.delete(where)


def _at(path: str) -> str:
    inner = path.strip("/")
    return at("sys/auth", inner.removeprefix(_AUTH)) if inner.startswith(_AUTH) else at("sys/mounts", inner)


def _pair(option: str) -> tuple[str, str]:
    name, separator, value = option.partition("=")
    if not separator or not name:
        raise click.UsageError(f"--option {option!a} is not of the form NAME=VALUE")
    return name, value
