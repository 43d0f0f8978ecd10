"""`sealward audit`: what was done here, by whom."""

import time
from collections.abc import Mapping
from typing import Any

import click

from cli.online.console import Console, online
from cli.online.output import show_next

_COLUMNS = ("at", "actor", "action", "object", "outcome")
_PAUSE = 1.0
_MOST = "1000"
_OWN_READ = "system.read_log"
"""What reading the log is called in the log: a tail that showed it would never be quiet."""


@click.group
def audit() -> None:
    """The audit log."""


@audit.command("list")
@online
@click.option("--actor", help="Who acted: the beginning of a name.")
@click.option("--action", help="What was done, such as kv.read.")
@click.option("--object", "about", help="To what: the beginning of a path or an id.")
@click.option("--outcome", help="How it ended: success, denied, refused or failed.")
@click.option("--since", help="From this moment on, RFC 3339, or how long ago: 2h.")
@click.option("--limit", type=click.IntRange(1, 1000), default=50, show_default=True)
def list_(console: Console, *, limit: int, **filters: str | None) -> None:
    """List events, the newest last."""
    console.items(_events(console, limit=str(limit), **_given(filters)), *_COLUMNS)


@audit.command
@online
@click.option("--actor", help="Who acted: the beginning of a name.")
@click.option("--action", help="What was done, such as kv.read.")
@click.option("--object", "about", help="To what: the beginning of a path or an id.")
def tail(console: Console, **filters: str | None) -> None:
    """Show the last events, then others as they happen, until interrupted; the reading itself is left out."""
    after = ""
    while True:
        page = {"limit": _MOST, "after": after} if after else {"limit": "10"}
        events = _events(console, **page, **_given(filters))
        for event in events:
            if event.get("action") != _OWN_READ or filters.get("action") == _OWN_READ:
                show_next(event, _COLUMNS, console.settings.output)
            after = str(event.get("id", after))
        time.sleep(_PAUSE)


def _given(filters: Mapping[str, str | None]) -> dict[str, str]:
    names = {"about": "object"}
    return {names.get(name, name): value for name, value in filters.items() if value}


def _events(console: Console, **query: str) -> list[Mapping[str, Any]]:
    found = console.client.read("sys/log/events", **query).data.get("events") or ()
    return [event for event in found if isinstance(event, Mapping)]
