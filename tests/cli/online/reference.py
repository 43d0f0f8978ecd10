"""The reference page of all commands, made of what they say: `python -m tests.cli.online.reference` writes it."""

import inspect
from collections.abc import Iterator

import click

from cli.main import sealward
from tests.house.tree import ROOT

PAGE = ROOT / "docs/reference/commands.md"
_SHARED = ("address", "ca_file", "context", "timeout", "output")
_HEAD = """# Every command

Made from the commands themselves by `python -m tests.cli.online.reference`; a test fails where it is not current.
Tasks are in [the command line](../how-to/command-line.md).

## Exit codes

| code | means |
| --- | --- |
| 0 | done |
| 1 | refused or failed |
| 2 | wrong usage, or settings that cannot be; nothing was sent |
| 3 | not logged in, or the token is no longer good |
| 4 | denied: no policy of yours allows it |
| 5 | there is nothing of that name |
| 6 | conflict: somebody was first, or it exists |
| 7 | the service cannot be reached or trusted, is sealed, or does not serve now |
| 130 | interrupted |

Commands that do not speak to the service, from `dev` on, use 0, 1, 2 and 130. What went wrong is told in one
line on standard error.

## Settings of the commands that speak to the service

An option goes before the environment, and that before the section of `config.toml` (in
`$XDG_CONFIG_HOME/sealward`, else `~/.config/sealward`) that `--context` names, else `default`. They are not
repeated below.

| option | environment | `config.toml` | means |
| --- | --- | --- | --- |
| `--address URL` | `SEALWARD_ADDR` | `address` | the service; `https://127.0.0.1:8443` unless said |
| `--ca-file FILE` | `SEALWARD_CACERT` | `ca_file` | the root to trust, in PEM; else the system's |
| `--context NAME` | `SEALWARD_CONTEXT` | | the section to read |
| `--timeout SECONDS` | `SEALWARD_TIMEOUT` | `timeout` | how long to wait for an answer; 60 unless said |
| `-o`, `--output FORM` | `SEALWARD_OUTPUT` | `output` | `table` for people, `json` or `yaml` for programs |
| | `SEALWARD_TOKEN` | | the token, before the one that `login` kept |
| | | `token_file` | where `login` keeps the token; `CONTEXT.token` beside `config.toml` unless said |
"""


def page(root: click.Group) -> str:
    """Return the whole page."""
    return _HEAD + "".join(_sections(root, click.Context(root, info_name="sealward")))


def _sections(group: click.Group, context: click.Context) -> Iterator[str]:
    for name in group.list_commands(context):
        command = group.get_command(context, name)
        if command is None or command.hidden:
            continue
        inner = click.Context(command, parent=context, info_name=name)
        if isinstance(command, click.Group):
            yield f"\n## {inner.command_path}\n\n{_help(command)}\n"
            yield from _sections(command, inner)
        else:
            yield f"\n{'##' if context.parent is None else '###'} {inner.command_path}\n\n{_usage(command, inner)}\n\n"
            yield f"{_help(command)}\n{_options(command, inner)}"


def _usage(command: click.Command, context: click.Context) -> str:
    return f"`{' '.join((context.command_path, *command.collect_usage_pieces(context)))}`"


def _help(command: click.Command) -> str:
    paragraphs = inspect.cleandoc(command.help or "").split("\n\n")
    return "\n\n".join(" ".join(paragraph.split()) for paragraph in paragraphs)


def _options(command: click.Command, context: click.Context) -> str:
    own = [item for item in command.params if isinstance(item, click.Option) and item.name not in _shared(command)]
    records = [record for record in (item.get_help_record(context) for item in own) if record is not None]
    rows = [f"| `{names}` | {' '.join(text.split()).replace('|', '&#124;')} |\n" for names, text in records]
    return f"\n| option | means |\n| --- | --- |\n{''.join(rows)}" if rows else ""


def _shared(command: click.Command) -> tuple[str, ...]:
    names = {item.name for item in command.params}
    return _SHARED if names >= set(_SHARED) else ()


if __name__ == "__main__":
    PAGE.write_text(page(sealward), encoding="utf-8")
