"""`sealward ceremony`: a root whose key is in another, offline token (docs/how-to/offline-root.md)."""

import hashlib
from contextlib import closing
from pathlib import Path

import click
from cryptography import x509
from cryptography.hazmat.primitives.serialization import Encoding, PublicFormat

from cli.files import write_private
from cli.offline.init import complete, shown
from cli.offline.settings import config_option, load_complete
from pki.ceremony.installation import install, install_crl
from pki.ceremony.people import public_key, sign_script
from pki.ceremony.request import make_request
from pki.ceremony.run import Held, hold
from pki.ceremony.script import read_script
from pki.ceremony.verify import Verified, verify
from pki.core import Core, http_base_url, open_core
from pki.errors import Conflict, Misconfigured
from pki.founding import hand_over, is_handed_over

_SIZE_LIMIT = 1 << 20
_AGAIN = "The intermediate was installed already; nothing was changed."
_file = click.Path(path_type=Path)


@click.group
def command() -> None:
    """Hold and verify the ceremony of an offline root."""


@command.command("sign-script")
@click.argument("script", type=_file)
@click.option("--key", "key_file", type=_file, required=True, help="Your Ed25519 private key, of mode 0600.")
def _sign_script(*, script: Path, key_file: Path) -> None:
    """Agree to a ceremony's script, as one of its two people: sign its SHA-256."""
    written = read_script(script)
    place = sign_script(written, key_file)
    click.echo(f"Signed {script} (SHA-256 {written.digest}): {place}")


@command.command("run")
@click.argument("script", type=_file)
@click.option("--out", type=_file, required=True, help="The folder for the transcript and what comes out.")
def _run(*, script: Path, out: Path) -> None:
    """Hold the ceremony of a script that both people have signed, without any question.

    One that was broken off is held anew when it is run again with the same --out: a key that it left is destroyed.
    """
    held = hold(script, out)
    _write_outcomes(held, out)
    click.echo(_held(held, out))


@command.command("verify")
@click.argument("transcript", type=_file)
@click.argument("root", type=_file)
def _verify(*, transcript: Path, root: Path) -> None:
    """Check a transcript with the root's certificate alone; what fails is named by its line."""
    verified = verify(transcript, _certificate(root))
    click.echo("\n".join([f"{transcript} is whole: {verified.lines} lines.", "", *_told(verified)]))


@command.command("request")
@config_option
@click.option("--out", type=_file, required=True, help="The file for the request, in PEM.")
def _request(*, file: Path, out: Path) -> None:
    """Make the key of the intermediate in this token, and the request that the offline root is to sign."""
    with closing(open_core(load_complete(file))) as core:
        pem, subject = make_request(core)
        write_private(out, pem, 0o644)
        lines = [f"{out} is the request for {subject.rfc4514_string()}. For the ceremony's script:", ""]
        lines += [f"base_url: {http_base_url(core.config)}", "acts:"]
        lines += ["  - act: sign-intermediate", f"    request: {out.name}"]
        lines += [f"    request_sha256: {hashlib.sha256(pem).hexdigest()}", "    subject:"]
        names = {"O": "organization", "CN": "common_name"}
        lines += [f"      {names[part.rfc4514_attribute_name]}: {_quoted(str(part.value))}" for part in subject]
        lines += [f"    days: {core.config.authority.intermediate_days}"]
        for key in ("permitted_dns", "permitted_ip"):
            values = getattr(core.config.authority, key)
            lines += [f"    {key}: [{', '.join(map(_quoted, values))}]"] if values else []
    click.echo("\n".join(lines))


@command.command("install")
@config_option
@click.argument("intermediate", type=_file, required=False)
@click.argument("root", type=_file, required=False)
@click.option("--crl", "crl", type=_file, help="The root's CRL, to be published from now on.")
def _install(*, file: Path, intermediate: Path | None, root: Path | None, crl: Path | None) -> None:
    """Put to use what came back from the ceremony: INTERMEDIATE and ROOT, the root's CRL, or all of them."""
    if (intermediate is None) != (root is None) or (intermediate is None and crl is None):
        raise click.UsageError("name the intermediate's and the root's certificate, or a CRL with --crl, or all three")
    with closing(open_core(load_complete(file))) as core:
        if intermediate is not None and root is not None:
            is_new = install(core, _certificate(intermediate), _certificate(root))
            click.echo("\n".join(_installed(core) if is_new or not is_handed_over(core.database) else [_AGAIN]))
            hand_over(core)
        if crl is not None:
            number = install_crl(core, _crl(crl))
            click.echo(f"The root's CRL {number} is published.")


def _write_outcomes(held: Held, out: Path) -> None:
    """Write what is not there yet.

    Raises:
        Conflict: all of it is there already, or something else under one of the names.
    """
    missing = [item for item in held.verified.outcomes if not (out / item.file).exists()]
    for item in held.verified.outcomes:
        if item not in missing and (out / item.file).read_bytes() != item.pem():
            raise Conflict(f"{out / item.file} is not what came out", advice="find out what happened, or remove it")
    if not missing:
        raise Conflict(
            "this ceremony was held already", advice="nothing was changed; `sealward ceremony verify` checks it"
        )
    for item in missing:
        write_private(out / item.file, item.pem(), 0o644)


def _held(held: Held, out: Path) -> str:
    lines = [f"The ceremony is over. Its transcript is {held.transcript}.", "", *_told(held.verified)]
    if held.removed:
        lines.insert(1, f"Before it, {held.removed} key(s) of a ceremony that was broken off were destroyed.")
    return "\n".join([*lines, "", f"Carry {out} to where it is needed; the token and its PIN stay offline, apart."])


def _told(verified: Verified) -> list[str]:
    script = verified.script
    lines = [f"  ceremony  {script.ceremony}, {script.held_on}", f"  script    SHA-256 {verified.digest}"]
    for role, person in (("operator", script.operator), ("witness", script.witness)):
        octets = public_key(person).public_bytes(Encoding.OpenSSH, PublicFormat.OpenSSH).decode()
        lines.append(f"  {role:9} {person.name}, {octets}")
    lines.append(f"  software  {verified.software}")
    made = [
        f"  {item.kind:12} {item.file}, SHA-256 {hashlib.sha256(item.der).hexdigest()}" for item in verified.outcomes
    ]
    return [*lines, *made]


def _installed(core: Core) -> list[str]:
    lines = ["The intermediate is installed below its external root, and the server's own certificate is made.", ""]
    return [*lines, *shown(complete(core)), "", "Next: sealward serve"]


def _quoted(text: str) -> str:
    return "'" + text.replace("'", "''") + "'"


def _certificate(path: Path) -> x509.Certificate:
    try:
        return x509.load_pem_x509_certificate(_octets(path))
    except ValueError:
        raise Misconfigured(
            f"{path} is no certificate in PEM", advice="name the file that the ceremony wrote"
        ) from None


def _crl(path: Path) -> x509.CertificateRevocationList:
    try:
        return x509.load_pem_x509_crl(_octets(path))
    except ValueError:
        raise Misconfigured(f"{path} is no CRL in PEM", advice="name the file that the ceremony wrote") from None


def _octets(path: Path) -> bytes:
    with path.open("rb") as file:
        return file.read(_SIZE_LIMIT)
