"""`sealward ssh`: certificates for people and hosts."""

from pathlib import Path

import click

from cli.files import write_private
from cli.online.console import Console, online
from cli.online.inputs import text_of
from cli.online.output import show_value, talk
from cli.online.paths import at, one
from cli.online.ssh_role import role

_READABLE = 0o644
_MOUNT = click.option("--mount", default="ssh", show_default=True, help="Where the engine is mounted.")


@click.group
def ssh() -> None:
    """OpenSSH certificates."""


ssh.add_command(role)


@ssh.command
@online
@click.argument("role_name", metavar="ROLE")
@click.argument("public_key")
@click.option("--principal", "principals", multiple=True, help="A login name, or a host's name; as often as needed.")
@click.option("--ttl", help="How long it lives, such as 10m.")
@click.option("--host", is_flag=True, help="For a host, not for a person.")
@click.option("--out", type=click.Path(path_type=Path), help="Where to write it.  [default: beside the key]")
@_MOUNT
def sign(
    console: Console,
    *,
    role_name: str,
    public_key: str,
    principals: tuple[str, ...],
    ttl: str | None,
    host: bool,
    out: Path | None,
    mount: str,
) -> None:
    """Certify PUBLIC_KEY, a file such as id_ed25519.pub (- is standard input), by ROLE.

    The certificate is written where ssh looks for it: id_ed25519-cert.pub.
    """
    body = {"public_key": text_of(public_key), "cert_type": "host" if host else "user"}
    if "PRIVATE KEY" in body["public_key"]:  # never sent, and never echoed
        raise click.UsageError(f"{public_key} holds a private key, which stays here: name the file with .pub")
    body |= {"valid_principals": ",".join(principals)} if principals else {}
    body |= {"ttl": ttl} if ttl else {}
    signed = console.client.write(at(mount, "sign", one(role_name)), body)
    line = signed.text("signed_key").strip()
    target = out or (None if public_key == "-" else _beside(Path(public_key)))
    if target is None:
        show_value(f"{line}\n")
        return
    write_private(target, f"{line}\n".encode(), _READABLE)
    talk(f"{target}: certificate {signed.text('serial_number')}")


@ssh.command("ca")
@online
@click.option("--host", is_flag=True, help="The CA of hosts, not that of people.")
@_MOUNT
def authority(console: Console, *, host: bool, mount: str) -> None:
    """Print the CA's public key: for sshd's TrustedUserCAKeys, or for @cert-authority in known_hosts."""
    line = console.client.read_raw(at(mount, "host_public_key" if host else "public_key"))
    show_value(f"{line.strip()}\n")


def _beside(public_key: Path) -> Path:
    return public_key.with_name(f"{public_key.name.removesuffix('.pub')}-cert.pub")
