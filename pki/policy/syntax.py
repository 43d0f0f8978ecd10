"""The two notations of policies, HCL as version 1 of its library read it and JSON, made into one tree of members.

This is the part of HCL that is data: no functions, no interpolation, no include (P9). Time is linear in the length of
the text, since every repetition below is possessive (D2), and the depth is bounded.
"""

import json
import re
import sys
import textwrap
from collections.abc import Iterator
from dataclasses import dataclass
from typing import NoReturn

from pki.errors import Malformed

DEPTH_LIMIT = 8
"""Objects and lists within one another; a policy with constraints on parameters takes four."""

_TOKEN = re.compile(
    r"""
    (?P<space>   (?: [ \t\n] | \r\n )++ | (?:\#|//)[^\r\n]*+ | /\*(?: [^*] | \*(?!/) )*+\*/ )
  | (?P<string>  "(?: [^"\\\r\n] | \\. )*+" )
  | (?P<heredoc> <<(?P<dash>-?)(?P<tag>[A-Za-z_][A-Za-z0-9_]*+)\r?\n )
  | (?P<number>  -?[0-9](?:[0-9A-Za-z_.]|(?<=[eE])[+-])*+ )
  | (?P<name>    [A-Za-z_][A-Za-z0-9_.-]*+ )
  | (?P<mark>    [{}\[\],=] )
    """,
    re.VERBOSE,
)
_ESCAPE = re.compile(r"\\(?:u([0-9A-Fa-f]{4})|U([0-9A-Fa-f]{8})|x([0-7][0-9A-Fa-f])|([01][0-7]{2})|(.))")
_PLAIN_ESCAPES = {"n": "\n", "t": "\t", "r": "\r", "a": "\a", "b": "\b", "f": "\f", "v": "\v", '"': '"', "\\": "\\"}
_SURROGATES = range(0xD800, 0xE000)
_SHOWN = 60


class Number(str):
    """A number as it was written: no member takes one yet, so none is computed with."""

    __slots__ = ()


@dataclass(frozen=True, slots=True)
class Member:
    """A key and its value; `path "a" {}` has the label `a`. `line` counts from 1, and is 0 in JSON."""

    key: str
    labels: tuple[str, ...]
    value: "Value"
    line: int


@dataclass(frozen=True, slots=True)
class Block:
    """The members between two braces, in their order; HCL may hold a key several times."""

    members: tuple[Member, ...]


Value = str | Number | bool | None | list["Value"] | Block


@dataclass(frozen=True, slots=True)
class _Token:
    kind: str
    text: str
    line: int


_END = "end"


def shown(text: str) -> str:
    """Return what a document holds as an error may quote it: one line of ASCII, cut short (L2)."""
    return ascii(text if len(text) <= _SHOWN else text[:_SHOWN] + "...")


def fail(line: int, message: str, advice: str) -> NoReturn:
    """Refuse the document, naming the line where there is one.

    Raises:
        Malformed: always.
    """
    raise Malformed(f"line {line}: {message}" if line else message, advice=advice)


def read(text: str) -> Block:
    """Return the members of `text`: JSON if its first character is a brace, else HCL. The caller bounds its size.

    Raises:
        Malformed: it is neither.
    """
    return _read_json(text) if text.lstrip(" \t\r\n").startswith("{") else _Reader(text).document()


# JSON


def _read_json(text: str) -> Block:
    try:
        block: Block = json.loads(  # the text begins with a brace, so what it makes is a block
            text, object_pairs_hook=_block, parse_int=Number, parse_float=Number, parse_constant=_no_constant
        )
    except json.JSONDecodeError as error:
        fail(error.lineno, f"the policy is not JSON: {error.msg}", "HCL does not begin with a brace")
    except RecursionError:
        fail(0, "the policy is nested too deeply", f"{DEPTH_LIMIT} levels are enough for any policy")
    return block


def _block(pairs: list[tuple[str, Value]]) -> Block:
    members = tuple(Member(key, (), value, 0) for key, value in pairs)
    seen: set[str] = set()
    for member in members:
        if member.key in seen:
            fail(0, f"{shown(member.key)} stands twice in one JSON object", "merge the two")
        seen.add(member.key)
    return Block(members)


def _no_constant(text: str) -> NoReturn:
    fail(0, f"the policy is not JSON: {text} is no JSON number", "see RFC 8259 section 6")


# HCL


def _tokens(text: str) -> Iterator[_Token]:
    line, position = 1, 0
    while position < len(text):
        found = _TOKEN.match(text, position)
        if found is None:
            fail(line, *_unreadable(text[position : position + 2]))
        kind, part = str(found.lastgroup), found[0]
        position = found.end()
        if kind == "heredoc":
            content, position = _heredoc(text, found, line)
            yield _Token("string", content, line)
            line += text.count("\n", found.start(), position)
            continue
        if kind == "string":
            yield _Token(kind, _unescape(part[1:-1], line), line)
        elif kind != "space":
            yield _Token(kind, part, line)
        line += part.count("\n")
    yield _Token(_END, "the end of the policy", line)


def _unreadable(beginning: str) -> tuple[str, str]:
    if beginning[0] == '"':
        return "a string is not closed on its line", 'close it with "; longer texts are written as <<EOT ... EOT'
    if beginning == "/*":
        return "a comment is not closed", "close it with */"
    if beginning == "<<":
        return "a heredoc has no name", "begin it with <<EOT at the end of a line"
    return f"{shown(beginning[0])} means nothing here", 'rules look like path "secret/*" { capabilities = ["read"] }'


def _heredoc(text: str, opening: re.Match[str], line: int) -> tuple[str, int]:
    """Return the content, and the position of the end of the line that closes it."""
    start = position = opening.end()
    tag = opening["tag"]
    while position < len(text):
        end = text.find("\n", position)
        end = len(text) if end < 0 else end
        if text[position:end].strip(" \t\r") == tag:
            content = text[start:position]
            return (textwrap.dedent(content) if opening["dash"] else content), end
        position = end + 1
    return fail(line, f"the heredoc {shown(tag)} is not closed", "close it with that word on a line of its own")


def _unescape(text: str, line: int) -> str:
    if "${" in text:
        fail(
            line, "${...} is not filled in here", "write the value itself, or let the tool that makes the policy do so"
        )
    if "\\" not in text:
        return text

    def character(found: re.Match[str]) -> str:
        four, eight, two, octal, plain = found.groups()
        code = int(octal, 8) if octal else int(four or eight or two or "0", 16)
        known = _PLAIN_ESCAPES.get(plain) if plain else chr(code) if _is_character(code) else None
        return (
            fail(line, f"no such escape: {shown(found[0])}", "write the character itself") if known is None else known
        )

    return _ESCAPE.sub(character, text)


def _is_character(code: int) -> bool:
    return code <= sys.maxunicode and code not in _SURROGATES


class _Reader:
    """Reads the tokens of one text, one ahead."""

    def __init__(self, text: str) -> None:
        self._tokens = _tokens(text)
        self._next = next(self._tokens)

    def document(self) -> Block:
        """Return the whole text's members."""
        return self._block(_END, 1)

    def _take(self) -> _Token:
        token = self._next
        if token.kind != _END:
            self._next = next(self._tokens)
        return token

    def _took(self, mark: str) -> bool:
        if self._next.kind == "mark" and self._next.text == mark:
            self._take()
            return True
        return False

    def _block(self, closing: str, depth: int) -> Block:
        self._check(depth)
        members: list[Member] = []
        while not (self._next.kind == _END if closing == _END else self._took(closing)):
            members.append(self._member(depth))
            self._took(",")
        return Block(tuple(members))

    def _member(self, depth: int) -> Member:
        first = self._take()
        if first.kind not in {"name", "string"}:
            what = first.text if first.kind == _END else shown(first.text)
            fail(
                first.line, f"{what} stands where a key or a closing brace belongs", "look for a brace or bracket amiss"
            )
        labels = []
        while self._next.kind in {"name", "string"}:
            labels.append(self._take().text)
        if self._took("{"):
            value: Value = self._block("}", depth + 1)
        elif not labels and self._took("="):
            value = self._value(depth + 1)
        else:
            fail(first.line, f"after {shown(first.text)} a value or a block is missing", "write = or { after it")
        return Member(first.text, tuple(labels), value, first.line)

    def _value(self, depth: int) -> Value:
        token = self._take()
        if token.kind == "string":
            return token.text
        if token.kind == "number":
            return Number(token.text)
        if token.kind == "name" and token.text in {"true", "false"}:
            return token.text == "true"
        if token.kind == "mark" and token.text == "[":
            return self._list(depth)
        if token.kind == "mark" and token.text == "{":
            return self._block("}", depth)
        what = token.text if token.kind == _END else shown(token.text)
        return fail(token.line, f"{what} stands where a value belongs", "strings are written in double quotes")

    def _list(self, depth: int) -> list[Value]:
        self._check(depth)
        values: list[Value] = []
        while not self._took("]"):
            values.append(self._value(depth + 1))
            if not self._took(",") and not (self._next.kind == "mark" and self._next.text == "]"):
                fail(self._next.line, "a list is not closed, or lacks a comma", 'lists look like ["read", "list"]')
        return values

    def _check(self, depth: int) -> None:
        if depth > DEPTH_LIMIT:
            fail(self._next.line, "the policy is nested too deeply", f"{DEPTH_LIMIT} levels are enough for any policy")
