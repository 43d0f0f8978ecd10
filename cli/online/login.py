"""`sealward login` and `logout`: get a token and keep it in a file for the owner alone."""

import os

import click

from cli.online.client import Answer, Client, needed
from cli.online.console import Console, online
from cli.online.exits import ApiError, Exit
from cli.online.inputs import secret
from cli.online.output import talk
from cli.online.paths import auth, one
from cli.online.settings import TOKEN_VARIABLE, checked_token, forget_token, keep_token, read_token


@click.command
@online
@click.option("--method", type=click.Choice(["token", "userpass", "approle"]), default="token", show_default=True)
@click.option("--mount", metavar="PATH", help="Where the method is mounted below auth/.  [default: its own name]")
@click.option("--name", metavar="NAME", help="The user of userpass, or the role-id of approle.")
def login(console: Console, *, method: str, mount: str | None, name: str | None) -> None:
    """Log in, and keep the token for the commands that follow.

    The token, the password or the secret-id is asked for, or read from standard input.
    """
    if method != "token" and name is None:
        raise click.UsageError(f"--method {method} needs --name")
    token = _told() if method == "token" else _given(console.as_holder(None), method, mount or method, name or "")
    holder = _holder(console.as_holder(token))
    keep_token(console.settings.token_file, token)
    policies = ", ".join(map(str, holder.data.get("policies") or ()))
    ttl = holder.data.get("ttl")
    span = f"for {ttl} s" if ttl else "without end"
    talk(f"Logged in as {holder.data.get('display_name')} with the policies {policies}, {span}.")
    if os.environ.get(TOKEN_VARIABLE):
        talk(f"But commands use the token in {TOKEN_VARIABLE}, while it is set.")


@click.command
@online
def logout(console: Console) -> None:
    """Revoke the token that `login` kept, and forget it."""
    token = read_token(console.settings.token_file)
    if token is None:
        talk("You are not logged in.")
        return
    try:
        console.as_holder(token).write("auth/token/revoke-self")
    except ApiError as error:
        if error.exit_code != Exit.UNAUTHENTICATED:
            raise
    forget_token(console.settings.token_file)


def _told() -> str:
    return checked_token(secret("Token").strip(), "standard input")


def _given(client: Client, method: str, mount: str, name: str) -> str:
    """Return the token that an auth method gives for a name and a secret."""
    try:
        if method == "userpass":
            answer = client.write(auth(mount, "login", one(name)), {"password": secret("Password")})
        else:
            answer = client.write(auth(mount, "login"), {"role_id": name, "secret_id": secret("Secret-id")})
    except ApiError as error:
        if error.exit_code not in {Exit.FAILURE, Exit.DENIED, Exit.UNAUTHENTICATED}:
            raise
        raise ApiError(f"not logged in: {error.message}", Exit.UNAUTHENTICATED) from None
    return checked_token(needed(answer.auth, "client_token"), "the service's answer")


def _holder(client: Client) -> Answer:
    """Return what the token is."""
    try:
        return client.read("auth/token/lookup-self")
    except ApiError as error:
        if error.exit_code != Exit.UNAUTHENTICATED:
            raise
        raise ApiError("not logged in: that is no token, or it is no longer good", Exit.UNAUTHENTICATED) from None
