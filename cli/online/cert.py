"""`sealward cert`: issue, sign, list, show and revoke X.509 certificates."""

from pathlib import Path

import click

from cli.files import write_private
from cli.online.client import Answer
from cli.online.console import FIELD, Console, online
from cli.online.csr import chain, make_request
from cli.online.inputs import text_of
from cli.online.output import rows_of, show_value, talk
from cli.online.paths import at, one

_COLUMNS = ("serial_number", "state", "role", "requester", "names", "not_after")
_READABLE = 0o644
_MOUNT = click.option("--mount", default="pki", show_default=True, help="Where the engine is mounted.")
_TTL = click.option("--ttl", help="How long it lives, such as 12h.")


@click.group
def cert() -> None:
    """X.509 certificates."""


@cert.command
@online
@click.argument("profile")
@click.argument("names", nargs=-1, required=True)
@_TTL
@click.option("--out", type=click.Path(path_type=Path), help="OUT.key and OUT.pem.  [default: the first name]")
@click.option("--replace", is_flag=True, help="Write over OUT.key and OUT.pem, if they are there.")
@_MOUNT
def issue(
    console: Console,
    *,
    profile: str,
    names: tuple[str, ...],
    ttl: str | None,
    out: Path | None,
    replace: bool,
    mount: str,
) -> None:
    """Make a key on this machine, and have a certificate for NAMES (DNS names, addresses) issued by PROFILE.

    The key never leaves this machine: OUT.key is for its owner alone. OUT.pem holds the certificate and its chain.
    """
    target = out or Path(names[0].replace("*", "_").replace(":", "-").replace("/", "_"))
    key_file, chain_file = (target.with_name(target.name + suffix) for suffix in (".key", ".pem"))
    _check_free(key_file, chain_file, replace=replace)
    key, csr = make_request(names)
    signed = _sign(console, mount, profile, csr, ttl)
    certificates = chain(signed).encode()
    write_private(key_file, key)
    write_private(chain_file, certificates, _READABLE)
    console.item(
        {
            "serial_number": signed.text("serial_number"),
            "certificate": str(chain_file),
            "private_key": str(key_file),
        }
    )


def _check_free(*files: Path, replace: bool) -> None:
    """Refuse to write over a key, before anything is signed."""
    for file in files:
        if not file.parent.is_dir():
            raise click.UsageError(f"there is no folder {file.parent}")
        if file.exists() and not replace:
            raise click.UsageError(f"{file} exists: name others by --out, or add --replace")


@cert.command
@online
@click.argument("profile")
@click.argument("csr")
@_TTL
@click.option("--out", type=click.Path(path_type=Path), help="Write the chain there, not to standard output.")
@_MOUNT
def sign(console: Console, *, profile: str, csr: str, ttl: str | None, out: Path | None, mount: str) -> None:
    """Have the key of CSR, a file in PEM (- is standard input), certified by PROFILE."""
    request = text_of(csr)
    if "PRIVATE KEY" in request:
        raise click.UsageError(f"{csr} holds a private key, which stays here: name a file with the request alone")
    signed = _sign(console, mount, profile, request, ttl)
    if out is None:
        show_value(chain(signed))
    else:
        write_private(out, chain(signed).encode(), _READABLE)
        talk(f"{out}: certificate {signed.text('serial_number')}")


@cert.command("list")
@online
@click.option("--state", help="issued, revoked, reserved or abandoned; several with commas.")
@click.option("--profile", "role", help="Issued by this profile.")
@click.option("--requester", help="Asked for by this principal.")
@click.option("--name", help="For this name, such as a.example.")
@click.option("--expires-within", help="Ending within a span, such as 12h.")
@click.option("--limit", type=click.IntRange(1, 1000), default=100, show_default=True)
@click.option("--after", metavar="SERIAL", help="Those that are older than this one.")
@_MOUNT
def list_(console: Console, *, limit: int, mount: str, **filters: str | None) -> None:
    """List certificates, the newest first."""
    query = {"limit": str(limit), **{name: text for name, text in filters.items() if text}}
    found = console.client.find(at(mount, "certs", "detailed"), **query).get("key_info")
    console.items(rows_of(found, "serial_number"), *_COLUMNS)


@cert.command
@online
@click.argument("serial")
@click.option("--pem", is_flag=True, help="The certificate alone, in PEM.")
@FIELD
@_MOUNT
def show(console: Console, *, serial: str, pem: bool, field: str | None, mount: str) -> None:
    """Show a certificate by its serial number."""
    found = console.client.read(at(mount, "certs", "detailed", one(serial)))
    if pem:
        show_value(f"{found.text('certificate').strip()}\n")
    else:
        console.item(found.data, field)


@cert.command
@online
@click.argument("serial", required=False)
@click.option("--file", "file", metavar="FILE", help="Not by its serial number: this certificate, in PEM.")
@click.option("--reason", default="unspecified", show_default=True, help="As RFC 5280 5.3.1 names it: keyCompromise.")
@_MOUNT
def revoke(console: Console, *, serial: str | None, file: str | None, reason: str, mount: str) -> None:
    """Revoke a certificate; its CRL says so within a second."""
    if (serial is None) == (file is None):
        raise click.UsageError("name one certificate: SERIAL, or --file FILE")
    which = {"serial_number": serial} if file is None else {"certificate": _first(text_of(file))}
    console.item(console.client.write(at(mount, "revoke"), {**which, "reason": reason}).data)


def _sign(console: Console, mount: str, profile: str, csr: str, ttl: str | None) -> Answer:
    return console.client.write(at(mount, "sign", one(profile)), {"csr": csr, **({"ttl": ttl} if ttl else {})})


def _first(pem: str) -> str:
    """Return the certificate that stands first in a file, which may have its chain below it: never a key."""
    begin, end = "-----BEGIN CERTIFICATE-----", "-----END CERTIFICATE-----"
    _, found, rest = pem.partition(begin)
    inner, ended, _ = rest.partition(end)
    if not found or not ended:
        raise click.UsageError("the file holds no certificate in PEM")
    return f"{begin}{inner}{end}\n"
