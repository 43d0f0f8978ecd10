"""`sealward serve`: the service for others, over what `sealward init` made."""

import functools
from pathlib import Path

import click

from cli.offline import service
from cli.offline.prepare import prepare_serve
from cli.offline.processes import Supervisor, ending_on_signals, run_forked
from cli.offline.settings import config_option, load_complete
from pki.core import http_base_url, https_base_url


@click.command
@config_option
def command(*, file: Path) -> None:
    """Serve the CA that `sealward init` made, in the foreground."""
    with ending_on_signals():
        config = load_complete(file)
        service.check_ports(config)
        run_forked(functools.partial(prepare_serve, config))
        with Supervisor() as supervisor:
            service.start(supervisor, config)
            click.echo(f"Sealward serves {https_base_url(config)} (CRLs and CA certificates: {http_base_url(config)})")
            service.watch(supervisor, config)
