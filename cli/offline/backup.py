"""`sealward backup` and `sealward restore`: the embedded database, sealed under a key that the token wraps."""

from collections.abc import Callable
from contextlib import closing
from pathlib import Path
from typing import Any

import click
from click.core import ParameterSource

from cli.offline.data_directory import DataDirectory
from cli.offline.dev_config import TOKEN_LABEL, Document, merge, read_wishes
from cli.offline.dev_token import use_token
from cli.offline.prepare import write_root
from cli.offline.settings import config_option, load_complete
from pki.backup import Restored, back_up, database_file, restore, try_restore
from pki.config import Config, parse
from pki.core import Core, database_url, open_core
from pki.errors import Misconfigured
from pki.founding import ROOT

_data_option: Callable[[Callable[..., Any]], Callable[..., Any]] = click.option(
    "--data", type=click.Path(path_type=Path), help="The folder of a `sealward dev`, instead of --config alone."
)


@click.command
@config_option
@_data_option
@click.option("--to", "target", type=click.Path(path_type=Path), required=True, help="The new file.")
def backup_command(*, file: Path, data: Path | None, target: Path) -> None:
    """Write a backup of the database, while the service runs; it opens only with the token."""
    config = _dev_config(_existing(data), file) if data else load_complete(file)
    place = database_file(database_url(config))
    if not place.is_file():  # which opening it would make
        raise Misconfigured(f"there is no database at {place}", advice="mend [database] url; or restore a backup there")
    with closing(open_core(config)) as core:
        header = back_up(core, database_url(config), target)
    click.echo(
        f"{target}: the database as of {header.made_at}, sealed. Back the token up too: neither is of use alone."
    )


@click.command
@config_option
@_data_option
@click.option("--check", is_flag=True, help="Only try it: restore to a folder of its own, open everything, remove it.")
@click.argument("backup", type=click.Path(path_type=Path, dir_okay=False, exists=True))
def restore_command(*, file: Path, data: Path | None, check: bool, backup: Path) -> None:
    """Put the database of a backup in its place, with the token that sealed it, or that token's copy."""
    if check:
        config = _dev_config(_existing(data), file) if data else load_complete(file)
        click.echo(_told(try_restore(config, backup)))
        click.echo("It was only tried: nothing of it is left.")
        return
    if data:
        restored = restore(_dev_config(_claimed(data), file), backup)
    else:
        config = load_complete(file)
        restored = restore(config, backup, _write_root)
    click.echo(_told(restored))
    click.echo("Client tokens made before are revoked: what was revoked since the backup would live again.")
    click.echo(f"Next: sealward {f'dev --data {data}' if data else 'serve'}")


def _existing(data: Path) -> DataDirectory:
    """Return the folder of a service that may be running."""
    directory = DataDirectory(data.absolute())
    if not directory.token.is_dir():
        raise Misconfigured(f"{data} is no folder of `sealward dev`", advice="name the one that --data of dev named")
    return directory


def _claimed(data: Path) -> DataDirectory:
    """Return the folder of a service that does not run, and cannot be started meanwhile."""
    _existing(data)
    return DataDirectory.claim(data)


def _dev_config(directory: DataDirectory, file: Path) -> Config:
    """Return what of dev's configuration is needed here: ports are chosen at its start, and not now."""
    source = click.get_current_context().get_parameter_source("file")
    wishes = read_wishes(None, None if source is ParameterSource.DEFAULT else file)
    defaults: Document = {"database": {"url": f"sqlite:///{directory.database}"}}
    if wishes.own_token:
        use_token(directory)
        defaults["hsm"] = {"module": wishes.module, "token_label": TOKEN_LABEL, "pin_file": str(directory.pin)}
    return parse(merge(defaults, wishes.document), wishes.base)


def _write_root(core: Core) -> None:
    if core.issuers.find(ROOT) is not None:  # an external root is there after its ceremony
        folder = core.config.server.tls_directory
        folder.mkdir(mode=0o700, parents=True, exist_ok=True)
        write_root(core, folder / "root.pem")


def _told(restored: Restored) -> str:
    counts = f"{restored.certificates} certificates, {restored.ssh_certificates} SSH certificates"
    return f"The database as of {restored.made_at}: {counts}, and {restored.versions} versions of secrets, each opened."
