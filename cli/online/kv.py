"""`sealward kv`: store and read secrets."""

import sys
from collections.abc import Callable, Mapping
from typing import Any

import click

from cli.online.client import Answer
from cli.online.console import FIELD, YES, Console, online
from cli.online.exits import NotFoundError
from cli.online.inputs import confirm, object_of, values
from cli.online.output import talk
from cli.online.paths import at

_EXAMPLE = "secret/app/db"
_HIDDEN = "(hidden: --show, or --field NAME)"
_MOUNT = click.option("--mount", metavar="PATH", help="The mount, where it has several parts; PATH is then NAME alone.")


@click.group
def kv() -> None:
    """Secrets: PATH is MOUNT/NAME, such as secret/app/db."""


def _split(path: str, mount: str | None) -> tuple[str, str]:
    if mount is not None:
        return mount, path.strip("/")
    first, _, name = path.strip("/").partition("/")
    return first, name


def _at(path: str, mount: str | None, part: str) -> str:
    """Return the API's path for `part` (data, metadata, ...) of the secret at `path`."""
    where, name = _split(path, mount)
    if not where or not name:
        raise click.UsageError(f"{path!a} is not of the form MOUNT/NAME, such as {_EXAMPLE}")
    return at(where, part, name)


@kv.command
@online
@click.argument("path")
@click.argument("fields", nargs=-1, metavar="[NAME=@FILE | NAME=-]...")
@click.option("--json", "source", metavar="FILE", help="Take all fields from a JSON object in FILE, or - for stdin.")
@click.option("--cas", type=click.IntRange(min=0), help="Write only if this is the current version; 0: only if new.")
@_MOUNT
def put(
    console: Console, *, path: str, fields: tuple[str, ...], source: str | None, cas: int | None, mount: str | None
) -> None:
    """Write a new version of a secret.

    A value is a file's text (NAME=@FILE), or is asked for or read from standard input (NAME=-). A value on the command
    line is seen by all users of this machine, so it is refused.
    """
    if bool(fields) == (source is not None):
        raise click.UsageError("name fields, NAME=@FILE or NAME=-, or give them all by --json")
    where = _at(path, mount, "data")
    body: dict[str, Any] = {"data": values(fields) if source is None else object_of(source)}
    if cas is not None:
        body["options"] = {"cas": cas}
    written = console.client.write(where, body).data
    console.item({"path": path, "version": written.get("version"), "created_time": written.get("created_time")})


@kv.command
@online
@click.argument("path")
@click.option("--version", type=click.IntRange(min=1), help="Not the current version, but this one.")
@click.option("--show", is_flag=True, help="Show values on a terminal, too.")
@FIELD
@_MOUNT
def get(console: Console, *, path: str, version: int | None, show: bool, field: str | None, mount: str | None) -> None:
    """Read a secret.

    A table on a terminal hides the values, unless --show or --field asks for them; files, pipes, JSON and YAML have
    them. The value of --field is written to the octet, with no line end after it, unless to a terminal.
    """
    query = {} if version is None else {"version": str(version)}
    found = _told(path, lambda: console.client.read(_at(path, mount, "data"), **query)).data.get("data")
    data: Mapping[str, Any] = found if isinstance(found, Mapping) else {}
    if field is None and not show and console.settings.output == "table" and sys.stdout.isatty():
        data = dict.fromkeys(data, _HIDDEN)
    console.item(data, field)


def _told(path: str, read: Callable[[], Answer]) -> Answer:
    """Return what `read` does; of a version that is gone, tell how."""
    try:
        return read()
    except NotFoundError as error:
        about = error.data.get("metadata")
        if not isinstance(about, Mapping):
            raise
        number = about.get("version")
        if about.get("destroyed"):
            raise NotFoundError(f"version {number} of {path} is destroyed, and cannot be had back") from None
        advice = f"`sealward kv undelete {path} --versions {number}` has it back"
        raise NotFoundError(f"version {number} of {path} is deleted: {advice}", is_empty=True) from None


@kv.command("list")
@online
@click.argument("path")
@_MOUNT
def list_(console: Console, *, path: str, mount: str | None) -> None:
    """List what is in the mount or folder PATH: folders end in a slash."""
    where, folder = _split(path, mount)
    console.names(console.client.list(at(where, "metadata", folder) if folder else at(where, "metadata")))


@kv.command
@online
@click.argument("path")
@click.option("--versions", help="Not the current version, but these: 1,2.")
@click.option("--destroy", is_flag=True, help="For good: the values are dropped and cannot be had back.")
@click.option("--all", "everything", is_flag=True, help="All versions and the metadata, for good.")
@YES
@_MOUNT
def delete(
    console: Console,
    *,
    path: str,
    versions: str | None,
    destroy: bool,
    everything: bool,
    yes: bool,
    mount: str | None,
) -> None:
    """Delete a secret; what is neither destroyed nor --all can be had back by `undelete`."""
    if everything and (versions or destroy):
        raise click.UsageError("--all is all versions, for good: leave --versions and --destroy out")
    numbers = _numbers(versions) if versions else None
    where = {part: _at(path, mount, part) for part in ("data", "metadata", "delete", "destroy")}
    if everything:
        confirm(f"this drops {path} with all its versions", yes=yes)
        console.client.delete(where["metadata"])
    elif destroy:
        which = f"versions {versions}" if versions else "the current version"
        confirm(f"this drops {which} of {path}", yes=yes)
        console.client.write(where["destroy"], {"versions": numbers or _current(console, where["metadata"])})
    elif numbers:
        console.client.write(where["delete"], {"versions": numbers})
    else:
        console.client.delete(where["data"])


@kv.command
@online
@click.argument("path")
@click.option("--versions", required=True, help="Which: 1,2.")
@_MOUNT
def undelete(console: Console, *, path: str, versions: str, mount: str | None) -> None:
    """Have deleted versions back."""
    console.client.write(_at(path, mount, "undelete"), {"versions": _numbers(versions)})
    talk(f"{path} has versions {versions} again, unless they were destroyed.")


@kv.command
@online
@click.argument("path")
@_MOUNT
def metadata(console: Console, *, path: str, mount: str | None) -> None:
    """Show the versions of a secret, and what is noted of it; no value."""
    console.item(console.client.read(_at(path, mount, "metadata")).data)


def _current(console: Console, metadata_path: str) -> list[int]:
    return [int(console.client.read(metadata_path).data.get("current_version") or 0)]


def _numbers(text: str) -> list[int]:
    parts = [part.strip() for part in text.split(",")]
    if not all(part.isascii() and part.isdigit() and int(part) > 0 for part in parts):
        raise click.UsageError(f"{text!a} is no list of versions, such as 1,2")
    return [int(part) for part in parts]
