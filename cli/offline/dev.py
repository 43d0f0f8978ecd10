"""`sealward dev`: a CA in a folder, made at the first start and served on this machine alone."""

import functools
import os
import shutil
import sys
from pathlib import Path

import click

from acme_server.links import Links
from cli.offline import service
from cli.offline.data_directory import DataDirectory, can_bind
from cli.offline.dev_config import configure, read_wishes
from cli.offline.dev_token import ensure_token
from cli.offline.greeting import Greeting
from cli.offline.prepare import Prepared, prepare_dev
from cli.offline.processes import Supervisor, ending_on_signals, run_forked
from cli.offline.proof import prove
from pki.authority.profiles import DEFAULT
from pki.config import Config
from pki.core import http_base_url, https_base_url
from pki.errors import SealwardError


@click.command
@click.option(
    "--data", required=True, type=click.Path(path_type=Path), help="The folder for everything; made if absent."
)
@click.option("--listen", metavar="HOST:PORT", help="The TLS listener, on loopback.  [default: 127.0.0.1:8443]")
@click.option(
    "--config", "file", type=click.Path(path_type=Path), help="A TOML file whose values go before the defaults."
)
@click.option("--proof/--no-proof", default=True, help="Whether to obtain a certificate from itself at the start.")
def command(*, data: Path, listen: str | None, file: Path | None, proof: bool) -> None:
    """Make a CA in a folder and serve it on this machine alone, in the foreground.

    What is absent is made: a SoftHSM token, a database, a root and an intermediate CA. What is there stays.
    """
    with ending_on_signals():
        wishes = read_wishes(listen, file)
        directory = DataDirectory.claim(data)
        config = configure(directory, wishes)
        service.check_ports(config)
        with directory.blaming_a_full_disk():
            if wishes.own_token:
                ensure_token(directory, wishes.module)
            prepared = run_forked(functools.partial(prepare_dev, config, directory.root_pem))
        with Supervisor() as supervisor:
            service.start(supervisor, config)
            _serve(supervisor, config, directory, prepared, proof=proof)


def _serve(
    supervisor: Supervisor, config: Config, directory: DataDirectory, prepared: Prepared, *, proof: bool
) -> None:
    directory_url = Links(https_base_url(config), DEFAULT).directory
    proved = _prove(config, directory_url, directory.root_pem) if proof else "left out, as you wished"
    try:
        directory.announce(
            {
                "address": https_base_url(config),
                "http_address": http_base_url(config),
                "ca_file": str(directory.root_pem),
                "acme_directory": directory_url,
                "token": prepared.token,
                "token_file": str(directory.root_token),
                "pid": os.getpid(),
                "root_sha256": prepared.fingerprint,
                "http01_port": config.acme.validation.http01_port,
                "tlsalpn01_port": config.acme.validation.tlsalpn01_port,
            },
            prepared.token,
        )
        click.echo(
            Greeting(
                address=https_base_url(config),
                directory_url=directory_url,
                http_url=http_base_url(config),
                root_pem=directory.root_pem,
                fingerprint=prepared.fingerprint,
                root_token=directory.root_token,
                ready=directory.ready,
                http01_port=config.acme.validation.http01_port,
                tlsalpn01_port=config.acme.validation.tlsalpn01_port,
                proof=proved,
                login_name=prepared.login_name,
                programs=_programs_off_the_path(),
            )
        )
        service.watch(supervisor, config)
    finally:
        directory.withdraw()


def _programs_off_the_path() -> Path | None:
    """Return the folder of this installation's command, unless the shell finds it by itself."""
    folder = Path(sys.executable).parent
    found = shutil.which("sealward")
    return None if found is not None and Path(found).parent == folder else folder


def _prove(config: Config, directory_url: str, root_pem: Path) -> str:
    """Return one line on the proof. The service stays up when it fails: the configuration may not allow it."""
    validation = config.acme.validation
    port = validation.http01_port
    if not can_bind(port):
        return (
            f"left out: port {port} of 127.0.0.1 is taken or not permitted, so nothing could answer a challenge "
            "there; free it, or set [acme.validation] http01_port"
        )
    name = "localhost" if validation.resolver is None else "127.0.0.1"
    try:
        proof = run_forked(functools.partial(prove, directory_url, root_pem, name, port))
    except SealwardError as error:
        return f"FAILED: {error}"
    return f"http-01 on port {port} for {proof.name} in {proof.seconds:.1f} s; {proof.verified}"
