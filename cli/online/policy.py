"""`sealward policy`: who may do what."""

import click

from cli.online.console import Console, online
from cli.online.inputs import text_of
from cli.online.output import show_value
from cli.online.paths import at, one

_POLICIES = "sys/policies/acl"


@click.group
def policy() -> None:
    """Policies: what the holders of a token may do."""


@policy.command("list")
@online
def list_(console: Console) -> None:
    """List the names of all policies."""
    console.names(console.client.list(_POLICIES))


@policy.command
@online
@click.argument("name")
def show(console: Console, *, name: str) -> None:
    """Print a policy as it was written."""
    answer = console.client.read(at(_POLICIES, one(name)))
    if console.settings.output == "table":
        show_value(answer.text("policy").rstrip("\n") + "\n")
    else:
        console.item(answer.data)


@policy.command("set")
@online
@click.argument("name")
@click.argument("file")
@click.option("--cas", type=click.IntRange(min=0), help="Write only if this is its version now; 0: only if new.")
def set_(console: Console, *, name: str, file: str, cas: int | None) -> None:
    """Write a policy, in HCL or JSON, from FILE, or from standard input (-)."""
    body = {"policy": text_of(file)} | ({} if cas is None else {"cas": cas})
    console.client.write(at(_POLICIES, one(name)), body)


@policy.command
@online
@click.argument("name")
def delete(console: Console, *, name: str) -> None:
    """Delete a policy: its holders lose what it gave, at their next request."""
    console.client.delete(at(_POLICIES, one(name)))


@policy.command
@online
@click.argument("paths", nargs=-1, required=True, metavar="PATH...")
def check(console: Console, *, paths: tuple[str, ...]) -> None:
    """Show what your own token may do at each PATH, such as pki/sign/web."""
    answer = console.client.write("sys/capabilities-self", {"paths": list(paths)})
    console.item({path: answer.data.get(path.removeprefix("/")) for path in paths})
