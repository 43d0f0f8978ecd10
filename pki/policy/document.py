"""Policy documents as people have them: which paths, and what may be done there.

Whatever a document says is either understood or refused by name. A condition that were silently left out would make
the rule that carries it wider than its author meant.
"""

import re
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from enum import StrEnum
from types import MappingProxyType

from pki.errors import Malformed
from pki.policy.syntax import Block, Member, Number, Value, fail, read, shown

SIZE_LIMIT = 1 << 18
"""Octets of one document."""

RULE_LIMIT = 4096
"""Rules of one document."""

PATTERN_LIMIT = 1024
"""Characters of one pattern."""

_NAME = re.compile(r"[a-z0-9][a-z0-9._-]{0,127}+")
_UNREACHABLE = frozenset("\\;%?#\N{REPLACEMENT CHARACTER}")
"""No request's path holds these: the door refuses it as not canonical (P1)."""


class Capability(StrEnum):
    """What a rule gives at its paths; `deny` takes away all that any rule of the same pattern gives."""

    CREATE = "create"
    READ = "read"
    UPDATE = "update"
    PATCH = "patch"
    DELETE = "delete"
    LIST = "list"
    SCAN = "scan"
    SUDO = "sudo"
    DENY = "deny"


_READ = frozenset({Capability.READ, Capability.LIST})
_WRITE = _READ | {Capability.CREATE, Capability.UPDATE, Capability.DELETE}
_SHORTHANDS: Mapping[str, frozenset[Capability]] = MappingProxyType(
    {
        "read": _READ,
        "write": _WRITE,
        "sudo": _WRITE | {Capability.SUDO},
        "deny": frozenset({Capability.DENY}),
    }
)
"""What `policy = "..."` stands for: the form that came before capabilities."""

_NOT_YET = frozenset(
    {
        "allowed_parameters",
        "control_group",
        "denied_parameters",
        "expiration",
        "list_scan_response_keys_filter_path",
        "max_wrapping_ttl",
        "mfa_methods",
        "min_wrapping_ttl",
        "pagination_limit",
        "required_parameters",
    }
)


@dataclass(frozen=True, slots=True)
class Rule:
    """What one policy says about the paths of one pattern.

    `pattern` has no leading slash. It is a path; or the beginning of one, followed by `*`; and each of its segments
    may be `+`, which stands for any one segment. `line` is where it stands, 0 in JSON.
    """

    pattern: str
    capabilities: frozenset[Capability]
    comment: str = ""
    line: int = 0


@dataclass(frozen=True, slots=True)
class Policy:
    """A named document."""

    name: str
    rules: tuple[Rule, ...]


ROOT = Policy("root", ())
"""Allows everything. It has no document, and no document can take its name."""


def check_name(name: str) -> None:
    """Refuse a policy's name that has a second spelling, or is reserved (P2). Nothing is repaired.

    Raises:
        Malformed: it is not made of lower-case ASCII letters, digits and `.`, `_`, `-`, beginning with a letter or a
            digit, 128 characters at most; or it is `root`.
    """
    if _NAME.fullmatch(name) is None:
        raise Malformed(
            f"{shown(name)} is no name for a policy",
            advice="use up to 128 of the characters a-z, 0-9, '.', '_' and '-', and begin with a letter or a digit",
        )
    if name == ROOT.name:
        raise Malformed("the name root is reserved", advice="choose another name")


def parse(name: str, text: str) -> Policy:
    """Return the policy that `text`, HCL or JSON, says.

    Raises:
        Malformed: the name is not canonical; the text is too long, cannot be read, or says what is not understood or
            not supported yet.
    """
    check_name(name)
    _check_text(text)
    rules: list[Rule] = []
    for member in read(text).members:
        if member.key == "path":
            rules.extend(_rule(*found) for found in _paths(member))
        elif member.key == "name":
            _check_own_name(name, member)
        else:
            fail(member.line, f"unknown key {shown(member.key)}", "a policy is made of path blocks")
    if len(rules) > RULE_LIMIT:
        raise Malformed(f"a policy has {RULE_LIMIT} rules at most", advice="divide it into several policies")
    return Policy(name, tuple(rules))


def _check_text(text: str) -> None:
    if not text.strip():
        raise Malformed("the policy is empty", advice="{} is a policy that gives nothing")
    try:
        size = len(text.encode())
    except UnicodeEncodeError:
        raise Malformed("the policy is not Unicode text", advice="send it as UTF-8") from None
    if size > SIZE_LIMIT:
        raise Malformed(f"a policy has {SIZE_LIMIT} octets at most", advice="divide it into several policies")


def _check_own_name(name: str, member: Member) -> None:
    if member.labels or _string(member, member.line) != name:
        fail(member.line, f"the policy names itself otherwise than {name}", "leave its name out")


def _paths(member: Member) -> Iterator[tuple[str, Block, int]]:
    """Yield pattern, block and line: HCL has a block each, JSON one object of all, or a list of such objects."""
    if member.line:
        if len(member.labels) != 1 or not isinstance(member.value, Block):
            fail(member.line, "path takes one pattern and a block", 'write path "secret/*" { ... }')
        yield member.labels[0], member.value, member.line
        return
    groups = member.value if isinstance(member.value, list) else [member.value]
    for group in groups:
        for path in group.members if isinstance(group, Block) else [Member("", (), None, 0)]:
            if not isinstance(path.value, Block):
                fail(0, "path is an object of patterns", 'write {"path": {"secret/*": {"capabilities": ["read"]}}}')
            yield path.key, path.value, 0


def _rule(written: str, block: Block, line: int) -> Rule:
    pattern = written.removeprefix("/")
    try:
        _check_pattern(pattern, line)
        return _content(pattern, block, line)
    except Malformed as error:
        raise Malformed(f"path {shown(written)}: {error.message}", advice=error.advice) from None


def _content(pattern: str, block: Block, line: int) -> Rule:
    capabilities: set[Capability] = set()
    comment, seen = "", set[str]()
    for member in block.members:
        if member.key in _NOT_YET:
            fail(member.line, f"{member.key} is not supported yet", "a rule without it would be wider than meant")
        if member.labels or member.key not in {"capabilities", "policy", "comment"}:
            fail(member.line, f"unknown key {shown(member.key)}", "a path has capabilities, policy and comment")
        if member.key in seen:
            fail(member.line, f"{member.key} stands twice in one block", "merge the two")
        seen.add(member.key)
        if member.key == "capabilities":
            capabilities |= _capabilities(member)
        elif member.key == "policy":
            capabilities |= _shorthand(member)
        else:
            comment = _string(member, member.line)
    return Rule(pattern, frozenset(capabilities), comment, line)


def _capabilities(member: Member) -> set[Capability]:
    if not isinstance(member.value, list):
        fail(member.line, "capabilities is a list", 'write capabilities = ["read", "list"]')
    return {_capability(value, member.line) for value in member.value}


def _capability(value: Value, line: int) -> Capability:
    known = f"there are {', '.join(Capability)}"
    if not isinstance(value, str) or isinstance(value, Number):
        fail(line, "a capability is a string", known)
    try:
        return Capability(value)
    except ValueError:
        return fail(line, f"unknown capability {shown(value)}", known)


def _shorthand(member: Member) -> frozenset[Capability]:
    written = _string(member, member.line)
    if written not in _SHORTHANDS:
        fail(
            member.line, f"unknown policy {shown(written)}", f"there are {', '.join(_SHORTHANDS)}; or use capabilities"
        )
    return _SHORTHANDS[written]


def _string(member: Member, line: int) -> str:
    if not isinstance(member.value, str) or isinstance(member.value, Number):
        fail(line, f"{member.key} is a string", f'write {member.key} = "..."')
    return member.value


def _check_pattern(pattern: str, line: int) -> None:
    """Refuse a pattern that cannot mean what it looks like: above all a deny that would hold nothing."""
    if "{{" in pattern or "}}" in pattern:
        fail(line, "templated paths are not supported yet", "write a rule for each path")
    if not pattern or len(pattern) > PATTERN_LIMIT:
        fail(line, f"a pattern has 1 to {PATTERN_LIMIT} characters", "the pattern * stands for every path")
    if "+*" in pattern:
        fail(line, "+* is forbidden", "end it with +/* or *")
    if "*" in pattern[:-1]:
        fail(line, "* counts at the end only", "use + for one segment in the middle")
    if not pattern.isprintable() or not _UNREACHABLE.isdisjoint(pattern):
        fail(line, "it holds a character that no path holds", "write the path as it is, without encoding")
    segments = pattern.split("/")
    if "" in segments[:-1] or not {".", ".."}.isdisjoint(segments):
        fail(line, "no path has an empty, . or .. segment", "write the path without it")
