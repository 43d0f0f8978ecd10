"""What commands print: a table for people, JSON or YAML for programs; data on stdout, talk on stderr."""

import json
import sys
from collections.abc import Iterable, Mapping, Sequence
from typing import Any

import click
import yaml

from cli.terminal import one_line, printable


def show_item(item: Mapping[str, Any], output: str) -> None:
    """Print one object: in a table, a line a member, and further lines of its value further in."""
    if output == "table":
        width = max((len(printable(name)) for name in item), default=0)
        for name, value in item.items():
            first, *others = _cell(value).split("\n")
            click.echo(f"{one_line(name).ljust(width)}  {first}".rstrip())
            for line in others:
                click.echo(f"{' ' * width}  {line}".rstrip())
        return
    _show_document(dict(item), output)


def show_value(value: object) -> None:
    """Print one value alone: a text as it is, to the octet, unless somebody sits before it; anything else in JSON."""
    text = value if isinstance(value, str) else _json(value)
    if sys.stdout.isatty():
        click.echo(printable(text))
    else:
        click.echo(text.encode("utf-8", "surrogateescape"), nl=not isinstance(value, str))


def show_items(items: Sequence[Mapping[str, Any]], columns: Sequence[str], output: str) -> None:
    """Print a list of objects: in a table, a line each, with `columns` only."""
    if output != "table":
        _show_document([dict(item) for item in items], output)
        return
    rows = [row_of(item, columns) for item in items]
    widths = [max(map(len, column)) for column in zip(columns, *rows, strict=True)]
    for row in ([name.upper() for name in columns], *rows):
        click.echo("  ".join(cell.ljust(width) for cell, width in zip(row, widths, strict=True)).rstrip())


def rows_of(found: object, key: str) -> list[dict[str, Any]]:
    """Return the members of an object, each of which is one, as a list of them with their names as the member `key`."""
    members = found.items() if isinstance(found, Mapping) else ()
    return [{key: name, **about} for name, about in members if isinstance(about, Mapping)]


def row_of(item: Mapping[str, Any], columns: Sequence[str]) -> list[str]:
    """Return what stands in the columns of a table."""
    return [one_line(_cell(item.get(column))) for column in columns]


def show_names(names: Iterable[str], output: str) -> None:
    """Print a list of names, a line each."""
    listed = list(names)
    if output == "table":
        for name in listed:
            click.echo(one_line(name))
        return
    _show_document(listed, output)


def show_next(item: Mapping[str, Any], columns: Sequence[str], output: str) -> None:
    """Print one of many objects as it comes: a row, a line of JSON, or a document of YAML."""
    if output == "table":
        click.echo("  ".join(row_of(item, columns)))
    elif output == "json":
        click.echo(_json(item, indent=None))
    else:
        click.echo(f"---\n{_yaml(dict(item))}", nl=False)


def talk(text: str) -> None:
    """Tell a person something that is no data."""
    click.echo(one_line(text), err=True)


def _show_document(document: object, output: str) -> None:
    if output == "json":
        click.echo(_json(document))
    else:
        click.echo(_yaml(document), nl=False)


def _json(document: object, indent: int | None = 2) -> str:
    """Return JSON in which all that could steer a terminal is escaped, which changes nothing for programs."""
    text = json.dumps(document, indent=indent, ensure_ascii=False)
    return "".join(char if char.isprintable() or char == "\n" else json.dumps(char)[1:-1] for char in text)


def _yaml(document: object) -> str:
    text = yaml.safe_dump(document, sort_keys=False, allow_unicode=True)
    if printable(text) == text:
        return text
    return yaml.safe_dump(document, sort_keys=False, allow_unicode=False)


def _cell(value: object) -> str:
    if value is None or value == "":
        return "-"
    if isinstance(value, bool):
        return "yes" if value else "no"
    if isinstance(value, list | tuple):
        return ", ".join(map(_cell, value)) or "-"
    if isinstance(value, Mapping):
        return ", ".join(f"{printable(name)}={_cell(item)}" for name, item in value.items()) or "-"
    return printable(str(value))
