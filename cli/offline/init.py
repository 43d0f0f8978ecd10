"""`sealward init`: the keys and certificates of a new CA, made once."""

import secrets
from contextlib import closing
from dataclasses import dataclass
from datetime import timedelta
from pathlib import Path

import click

from cli.files import write_private
from cli.offline.prepare import write_root
from cli.offline.settings import config_option, load_complete
from hsm import softhsm
from pki.clock import rfc3339
from pki.config import Config
from pki.core import Core, open_core
from pki.errors import Conflict, Misconfigured
from pki.founding import INTERMEDIATE, ROOT, found, hand_over, is_handed_over

_LIFETIME = timedelta(hours=24)
_PIN_OCTETS = 24


@dataclass(frozen=True, slots=True)
class Made:
    """What stands when a CA is made; `credential` is shown once."""

    root_pem: Path
    fingerprint: str
    credential: str


@click.command
@config_option
def command(*, file: Path) -> None:
    """Make the keys and certificates of a new CA, once.

    The token must exist; a SoftHSM token is made when it is absent. What an interrupted run left is completed.
    """
    config = load_complete(file)
    made_token = _ensure_token(config)
    _refuse_second(config)
    found(config)
    with closing(open_core(config)) as core:
        if core.issuers.find(INTERMEDIATE) is None:
            click.echo(_awaiting(config, made_token=made_token))
            return
        click.echo(_report(config, complete(core), made_token=made_token))
        hand_over(core)


def _awaiting(config: Config, *, made_token: bool) -> str:
    """Return what to do where the root is external, and the ceremony still to come."""
    lines = [
        "The key-encryption key is made. The root is external: a ceremony makes it, and has it sign the intermediate.",
        "",
        *_token_notes(config, made_token=made_token),
        "",
        "Next: sealward ceremony request",
    ]
    return "\n".join(lines)


def complete(core: Core) -> Made:
    """Make what goes with CA certificates: the server's own certificate, the root's file, the bootstrap credential."""
    core.server_certificate.renew_if_due()
    root_pem = core.config.server.tls_directory / "root.pem"
    fingerprint = write_root(core, root_pem)
    core.tokens.revoke_kind("bootstrap")
    return Made(root_pem, fingerprint, core.tokens.make("bootstrap", ("root",), _LIFETIME))


def _refuse_second(config: Config) -> None:
    """Raise Conflict, which says what stands, when everything is there already."""
    try:
        core = open_core(config)
    except Misconfigured:
        return  # not initialised, or not to its end; what else is wrong, `found` will meet again
    with closing(core):
        standing = [issuer for issuer in (core.issuers.find(ROOT), core.issuers.find(INTERMEDIATE)) if issuer]
        if len(standing) < 2 or not is_handed_over(core.database):  # noqa: PLR2004 - both
            return
        listed = "; ".join(
            f"{item.certificate.subject.rfc4514_string()}, until {rfc3339(item.certificate.not_valid_after_utc)}"
            for item in standing
        )
        raise Conflict(f"it is initialised already: {listed}", advice="run `sealward serve`; nothing was changed")


def _ensure_token(config: Config) -> bool:
    """Make a SoftHSM token, with a random PIN unless the PIN's file is there; tell whether it did.

    Raises:
        Misconfigured: the token is there, and its PIN is not.
        HsmMisconfigured: SoftHSM refuses.
    """
    hsm = config.hsm
    if "softhsm" not in Path(hsm.module).name or softhsm.has_token(hsm.module, hsm.token_label):
        if not hsm.pin_file.exists():
            advice = "write the token's user PIN into it, with mode 0600"
            raise Misconfigured(f"there is no {hsm.pin_file}", advice=advice)
        return False
    softhsm.init_token(hsm.module, hsm.token_label, _ensure_pin(so_pin_file(config)), _ensure_pin(hsm.pin_file))
    return True


def so_pin_file(config: Config) -> Path:
    """Return where the security officer's PIN of a token that `init` made is written."""
    return config.hsm.pin_file.with_name(f"{config.hsm.pin_file.name}.security-officer")


def _ensure_pin(path: Path) -> str:
    if not path.exists():
        path.parent.mkdir(mode=0o700, parents=True, exist_ok=True)
        write_private(path, secrets.token_urlsafe(_PIN_OCTETS).encode() + b"\n")
    return path.read_text(encoding="utf-8").strip()


def shown(made: Made) -> tuple[str, ...]:
    """Return the lines about the root and the bootstrap credential."""
    return (
        f"  root (PEM)      {made.root_pem}",
        f"  root (SHA-256)  {made.fingerprint}",
        "",
        "The bootstrap credential, shown this once and good for 24 hours:",
        "",
        f"  {made.credential}",
    )


def _report(config: Config, made: Made, *, made_token: bool) -> str:
    lines = [
        "This CA is made: a key-encryption key, a root, an intermediate, and the server's own certificate.",
        "",
        *shown(made),
        "",
        *_token_notes(config, made_token=made_token),
    ]
    return "\n".join([*lines, "", "Next: sealward serve"])


def _token_notes(config: Config, *, made_token: bool) -> list[str]:
    """Return what the operator must know of the token."""
    token = f"The token {config.hsm.token_label!r}"
    lines = [
        f"{token} is the only place of the CA's keys and of the key under which the database's secrets are sealed.",
        "If it is lost, nothing signs or opens any more: a new root must be rolled out everywhere, and stored secrets",
        "are gone. Back it up now, by its vendor's way, together with the database: neither is of use alone.",
    ]
    if made_token:
        lines += [
            "",
            f"{token} is a SoftHSM token, made just now: it is the folder that directories.tokendir names in the",
            "configuration of SoftHSM (SOFTHSM2_CONF, else /etc/softhsm/softhsm2.conf). To back it up, copy that",
            f"folder and {config.hsm.pin_file}, to a place as safe as the CA itself.",
            f"The security officer's PIN is in {so_pin_file(config)}: move it to another place.",
        ]
    return lines
