"""`sealward status`: how the service is."""

import click

from cli.online.console import FIELD, Console, online
from cli.online.exits import Exit

_SEALED = 299
"""The status that is asked for where the service is sealed, so that it is an answer and no error."""
_SHOWN = ("initialized", "sealed", "version", "cluster_id", "server_time_utc")


@click.command
@online
@FIELD
def status(console: Console, *, field: str | None) -> int:
    """Show whether the service serves; no token is needed. Exits with 7 when it is sealed."""
    answer = console.as_holder(None).read("sys/health", sealedcode=str(_SEALED))
    console.item({"address": console.settings.address} | {name: answer.document.get(name) for name in _SHOWN}, field)
    return Exit.UNAVAILABLE if answer.status == _SEALED else Exit.OK
