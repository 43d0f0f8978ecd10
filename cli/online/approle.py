"""`sealward approle`: programs that log in by a role-id and a secret-id."""

import click

from cli.online.console import FIELD, Console, online
from cli.online.paths import auth, one

_MOUNT = click.option("--mount", default="approle", show_default=True, help="Where the method is mounted below auth/.")
_MADE = ("secret_id", "secret_id_accessor", "secret_id_ttl", "secret_id_num_uses")


@click.group
def approle() -> None:
    """Programs that log in by a role-id and a secret-id."""


@approle.command("list")
@online
@_MOUNT
def list_(console: Console, *, mount: str) -> None:
    """List the names of all AppRoles."""
    console.names(console.client.list(auth(mount, "role")))


@approle.command
@online
@click.argument("name")
@FIELD
@_MOUNT
def show(console: Console, *, name: str, field: str | None, mount: str) -> None:
    """Show an AppRole, with its role-id, which is no secret."""
    role = console.client.read(_path(mount, name)).data
    role_id = console.client.read(f"{_path(mount, name)}/role-id").data
    console.item({**role_id, **role}, field)


@approle.command("set")
@online
@click.argument("name")
@click.option("--policy", "policies", multiple=True, help="What its tokens may do; as often as needed.")
@click.option("--ttl", help="How long its tokens live, such as 20m.")
@click.option("--secret-id-ttl", help="How long its secret-ids live, such as 24h.")
@click.option("--secret-id-uses", type=click.IntRange(min=0), help="How many logins each is good for; 0: any number.")
@_MOUNT
def set_(
    console: Console,
    *,
    name: str,
    policies: tuple[str, ...],
    ttl: str | None,
    secret_id_ttl: str | None,
    secret_id_uses: int | None,
    mount: str,
) -> None:
    """Make an AppRole, or change one: what is not given stays."""
    body = {
        "token_policies": list(policies) or None,
        "token_ttl": ttl,
        "secret_id_ttl": secret_id_ttl,
        "secret_id_num_uses": secret_id_uses,
    }
    console.client.write(_path(mount, name), {key: value for key, value in body.items() if value is not None})


@approle.command("secret-id")
@online
@click.argument("name")
@FIELD
@_MOUNT
def secret_id(console: Console, *, name: str, field: str | None, mount: str) -> None:
    """Make a secret-id, and print it: --field secret_id for it alone."""
    made = console.client.write(f"{_path(mount, name)}/secret-id").data
    console.item({key: made.get(key) for key in _MADE}, field)


@approle.command
@online
@click.argument("name")
@_MOUNT
def delete(console: Console, *, name: str, mount: str) -> None:
    """Delete an AppRole with its secret-ids; tokens that are out live on until they end or are revoked."""
    console.client.delete(_path(mount, name))


def _path(mount: str, name: str) -> str:
    return auth(mount, "role", one(name))
