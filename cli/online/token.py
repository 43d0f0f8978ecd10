"""`sealward token`: make, look up, renew and revoke client tokens."""

import click

from cli.online.console import FIELD, Console, online
from cli.online.inputs import secret

_MADE = ("client_token", "accessor", "policies", "lease_duration", "renewable")
_RENEWED = ("accessor", "policies", "lease_duration")


@click.group
def token() -> None:
    """Client tokens."""


@token.command
@online
@click.option("--policy", "policies", multiple=True, help="What it may do; as often as needed.  [default: your own]")
@click.option("--ttl", help="How long it lives, such as 15m.  [default: 1h]")
@click.option("--display-name", help="What the audit log calls its holder.")
@click.option("--uses", type=click.IntRange(min=1), help="How many requests it is good for.")
@click.option("--orphan", is_flag=True, help="Let it outlive your own token, which needs sudo.")
@FIELD
def create(
    console: Console,
    *,
    policies: tuple[str, ...],
    ttl: str | None,
    display_name: str | None,
    uses: int | None,
    orphan: bool,
    field: str | None,
) -> None:
    """Make a token below your own, and print it: --field client_token for it alone."""
    wanted = {
        "policies": list(policies),
        "ttl": ttl,
        "display_name": display_name,
        "num_uses": uses,
        "no_parent": orphan,
    }
    answer = console.client.write("auth/token/create", {name: value for name, value in wanted.items() if value})
    console.item({name: answer.auth.get(name) for name in _MADE}, field)


@token.command
@online
@click.argument("accessor", required=False)
@FIELD
def lookup(console: Console, *, accessor: str | None, field: str | None) -> None:
    """Show your own token, or that of an accessor; the token itself is never shown."""
    if accessor is None:
        answer = console.client.read("auth/token/lookup-self")
    else:
        answer = console.client.write("auth/token/lookup-accessor", {"accessor": accessor})
    console.item({name: value for name, value in answer.data.items() if name != "id"}, field)


@token.command("list")
@online
def list_(console: Console) -> None:
    """List the accessors of all live tokens, which needs sudo."""
    console.names(console.client.list("auth/token/accessors"))


@token.command
@online
@click.option("--increment", help="How long from now, such as 30m.")
def renew(console: Console, *, increment: str | None) -> None:
    """Let your own token live longer."""
    answer = console.client.write("auth/token/renew-self", {"increment": increment} if increment else None)
    console.item({name: answer.auth.get(name) for name in _RENEWED})


@token.command
@online
@click.argument("accessor", required=False)
@click.option("--self", "own", is_flag=True, help="Revoke the token that you are logged in with.")
def revoke(console: Console, *, accessor: str | None, own: bool) -> None:
    """Revoke a token and all below it: by its accessor, with --self your own, else one given on standard input."""
    if own and accessor is not None:
        raise click.UsageError("name one token: ACCESSOR, or --self")
    if own:
        console.client.write("auth/token/revoke-self")
    elif accessor is not None:
        console.client.write("auth/token/revoke-accessor", {"accessor": accessor})
    else:
        console.client.write("auth/token/revoke", {"token": secret("Token")})
