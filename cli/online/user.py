"""`sealward user`: people who log in by name and password."""

import click

from cli.online.console import FIELD, Console, online
from cli.online.inputs import secret
from cli.online.paths import auth, one

_MOUNT = click.option("--mount", default="userpass", show_default=True, help="Where the method is mounted below auth/.")


@click.group
def user() -> None:
    """People who log in by a name and a password (userpass)."""


@user.command("list")
@online
@_MOUNT
def list_(console: Console, *, mount: str) -> None:
    """List the names of all users."""
    console.names(console.client.list(auth(mount, "users")))


@user.command
@online
@click.argument("name")
@FIELD
@_MOUNT
def show(console: Console, *, name: str, field: str | None, mount: str) -> None:
    """Show what a user's tokens may do, and how long they live."""
    console.item(console.client.read(_path(mount, name)).data, field)


@user.command("set")
@online
@click.argument("name")
@click.option("--policy", "policies", multiple=True, help="What the user's tokens may do; as often as needed.")
@click.option("--ttl", help="How long they live, such as 8h.")
@click.option("--password/--no-password", default=True, help="Whether to set a password, or leave the one there is.")
@_MOUNT
def set_(
    console: Console, *, name: str, policies: tuple[str, ...], ttl: str | None, password: bool, mount: str
) -> None:
    """Make a user, or change one: what is not given stays. The password is asked for, or read from standard input."""
    where = _path(mount, name)
    body = {
        "token_policies": list(policies) or None,
        "token_ttl": ttl,
        "password": secret("Password", twice=True) if password else None,
    }
    console.client.write(where, {key: value for key, value in body.items() if value is not None})


@user.command
@online
@click.argument("name")
@_MOUNT
def delete(console: Console, *, name: str, mount: str) -> None:
    """Delete a user; tokens that are out live on until they end or are revoked."""
    console.client.delete(_path(mount, name))


def _path(mount: str, name: str) -> str:
    return auth(mount, "users", one(name))
