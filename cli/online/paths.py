"""Paths of the API, made of what a user names."""

from urllib.parse import quote

import click


def at(mount: str, *names: str) -> str:
    """Return the path of `names` below a mount, each quoted; a mount, and the last name, may have several segments.

    Raises:
        UsageError: there is no such path: what the client would take for a step up, or for none, is refused here.
    """
    path = "/".join((mount.strip("/"), *names))
    segments = path.split("/")
    if not set(segments).isdisjoint({"", ".", ".."}) or not path.isprintable():
        raise click.UsageError(f"{path!a} is no path: it has an empty or dotted part, or characters that are none")
    return quote(path)


def one(name: str) -> str:
    """Return a name that is one segment of a path.

    Raises:
        UsageError: it has a slash in it, or is empty.
    """
    if not name or "/" in name:
        raise click.UsageError(f"{name!a} is no name: it is empty, or has a slash in it")
    return name


def auth(mount: str, *names: str) -> str:
    """Return the path of `names` below an auth method, which is named with or without `auth/`. Raises UsageError."""
    return at(f"auth/{mount.strip('/').removeprefix('auth/')}", *names)
