"""What commands take in: secrets by standard input, a file or a prompt, never as an argument."""

import json
import sys
from collections.abc import Iterable
from pathlib import Path
from typing import Any

import click

_STDIN = "-"


def text_of(source: str) -> str:
    """Return the text that `source` names, to the octet: `-` is standard input, anything else a file.

    Raises:
        UsageError: it cannot be read, or is not UTF-8.
    """
    try:
        content = sys.stdin.buffer.read() if source == _STDIN else Path(source).read_bytes()
        return content.decode()
    except UnicodeDecodeError:
        raise click.UsageError(f"{source} is no text (UTF-8): encode it, such as by base64") from None
    except OSError as error:
        raise click.UsageError(f"cannot read {source}: {error.strerror}") from None


def object_of(source: str) -> dict[str, Any]:
    """Return the JSON object that `source` names, as `text_of` does.

    Raises:
        UsageError: there is none.
    """
    try:
        document = json.loads(text_of(source), parse_constant=_no_number)
    except (ValueError, RecursionError):
        raise click.UsageError(f"{source} holds no JSON") from None
    if not isinstance(document, dict):
        raise click.UsageError(f"{source} holds JSON, but no object")
    return document


def _no_number(text: str) -> None:
    raise ValueError(text)


def secret(prompt: str, *, twice: bool = False) -> str:
    """Return a secret: asked for at a terminal without echo, `twice` for a new one, else a line of standard input.

    Raises:
        UsageError: there is none.
    """
    if sys.stdin.isatty():
        text: str = click.prompt(prompt, hide_input=True, err=True, confirmation_prompt=twice)
    else:
        try:
            text = sys.stdin.buffer.readline().decode().rstrip("\r\n")
        except UnicodeDecodeError:
            text = ""
    if not text:
        raise click.UsageError(f"no {prompt.lower()} was given: type it when asked, or send it to standard input")
    return text


def values(arguments: Iterable[str]) -> dict[str, str]:
    """Return the values of `NAME=@FILE`, a file's text, and `NAME=-`: asked for, or what comes by standard input.

    One line's end is taken off what comes by standard input, since people and `echo` put one there.

    Raises:
        UsageError: one is of another form, which is not shown since it may be a secret; or is given twice.
    """
    found: dict[str, str] = {}
    is_read = False
    for argument in arguments:
        name, separator, source = argument.partition("=")
        if not separator or not name or not (source == _STDIN or source.startswith("@")):
            raise click.UsageError(
                "a value on the command line is seen by every user of this machine: write NAME=@FILE, or NAME=-"
            )
        if name in found or (source == _STDIN and is_read):
            raise click.UsageError(f"{name} or standard input is given twice")
        is_read = is_read or source == _STDIN
        found[name] = _from_stdin(name) if source == _STDIN else text_of(source[1:])
    return found


def _from_stdin(name: str) -> str:
    return secret(name) if sys.stdin.isatty() else text_of(_STDIN).removesuffix("\n")


def confirm(what: str, *, yes: bool) -> None:
    """Go on if `yes`, or if whoever sits at the terminal says so. `what` says what is lost.

    Raises:
        UsageError: nobody can be asked.
        ClickException: the answer was no.
    """
    if yes:
        return
    if not sys.stdin.isatty():
        raise click.UsageError(f"{what}, for good: add --yes if you mean it")
    if not click.confirm(f"{what[0].upper()}{what[1:]}, for good. Go on?", err=True):
        raise click.ClickException("nothing was done")
