"""Decides what a set of policies allows, and says which rule decided.

Compiled once for a set of policies: plain patterns into a dictionary, those with `*` or `+` into a trie of segments.
A decision is then a walk along the path's segments, whatever the number of rules.
"""

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from operator import attrgetter

from pki.policy.document import ROOT, Capability, Policy

_ASKED = tuple(capability for capability in Capability if capability is not Capability.DENY)
_FOLDERS = frozenset({Capability.LIST, Capability.SCAN})


@dataclass(frozen=True, slots=True)
class Source:
    """What one policy says about a pattern."""

    policy: str
    capabilities: frozenset[Capability]


@dataclass(frozen=True, slots=True)
class Ruling:
    """What all policies of a set give together for one pattern.

    `capabilities` is the union over `sources`, and empty if one of them denies. Of two patterns that both match a
    path, the one with the higher `rank` decides.
    """

    pattern: str
    capabilities: frozenset[Capability]
    sources: tuple[Source, ...]
    rank: int = 0
    verdicts: Mapping[str, "Verdict"] = field(init=False, repr=False, compare=False)

    def __post_init__(self) -> None:
        """Make the verdicts beforehand: deciding is looking one up."""
        object.__setattr__(self, "verdicts", {asked: _verdict(self, asked) for asked in _ASKED})

    @property
    def policies(self) -> tuple[str, ...]:
        """The policies that hold the pattern, in order."""
        return tuple(source.policy for source in self.sources)

    @property
    def denied_by(self) -> tuple[str, ...]:
        """The policies that deny it, in order."""
        return tuple(source.policy for source in self.sources if Capability.DENY in source.capabilities)


@dataclass(frozen=True, slots=True)
class Verdict:
    """Whether something is allowed, and why.

    `rule` decided; None: no pattern matches the path. `missing` are the capabilities that the rule would have to give
    and does not; empty if and only if it is allowed.
    """

    allowed: bool
    rule: Ruling | None
    missing: tuple[Capability, ...]

    @property
    def policies(self) -> tuple[str, ...]:
        """The policies that hold the deciding pattern, in order; none where no pattern matches."""
        return () if self.rule is None else self.rule.policies

    def why(self) -> str:
        """Return the reason in one line, for those who may see the policies."""
        if self.rule is None:
            return f"no rule matches the path; {' and '.join(self.missing)} would be needed"
        if self.rule.denied_by:
            return f"path {self.rule.pattern!a} is denied by policy {', '.join(self.rule.denied_by)}"
        gives = ", ".join(sorted(self.rule.capabilities)) or "nothing"
        reason = f"path {self.rule.pattern!a} of policy {', '.join(self.policies)} gives {gives}"
        return f"{reason}, not {' or '.join(self.missing)}" if self.missing else reason


def _verdict(rule: Ruling | None, *asked: Capability) -> Verdict:
    given = frozenset[Capability]() if rule is None else rule.capabilities
    missing = tuple(capability for capability in asked if capability not in given)
    return Verdict(not missing, rule, missing)


_UNMATCHED: Mapping[str, Verdict] = {asked: _verdict(None, asked) for asked in _ASKED}


class _Node:
    """A place in the trie: all patterns whose segments up to here are the same."""

    __slots__ = ("any", "below", "globs", "here", "lengths")

    def __init__(self) -> None:
        self.below: dict[str, _Node] = {}
        self.any: _Node | None = None
        self.here: Ruling | None = None
        self.globs: dict[str, Ruling] = {}
        """By the beginning of the next segment that stands before the `*`."""
        self.lengths: tuple[int, ...] = ()
        """The lengths that the keys of `globs` have."""

    def child(self, segment: str) -> "_Node":
        """Return the node for the next segment of a pattern, made if need be."""
        if segment == "+":
            self.any = self.any or _Node()
            return self.any
        return self.below.setdefault(segment, _Node())

    def put(self, ruling: Ruling) -> None:
        """Keep a ruling below this node, which is the root."""
        node = self
        *segments, last = ruling.pattern.split("/")
        for segment in segments:
            node = node.child(segment)
        if last.endswith("*"):
            node.globs[last[:-1]] = ruling
            if len(last) - 1 not in node.lengths:
                node.lengths += (len(last) - 1,)
        else:
            node.child(last).here = ruling


class Acl:
    """What a set of policies allows. Paths have no leading slash, and are canonical."""

    def __init__(self, rulings: Iterable[Ruling], *, root: bool = False) -> None:
        self._root = Ruling("*", frozenset(_ASKED), (Source(ROOT.name, frozenset(_ASKED)),)) if root else None
        self._plain: dict[str, Ruling] = {}
        self._trie = _Node()
        self._rulings = tuple(rulings)
        for ruling in self._rulings:
            if _has_plus(ruling.pattern) or ruling.pattern.endswith("*"):
                self._trie.put(ruling)
            else:
                self._plain[ruling.pattern] = ruling

    def decide(self, path: str, capability: str, *, sudo: bool = False) -> Verdict:
        """Tell whether `capability` is given for `path`; with `sudo`, the same rule must give sudo too.

        Paths that only a privileged caller may use ask for `sudo` beside what is done there. Listing (and scanning) is
        done to a folder, so it is decided for the path with a slash at its end, and if no rule speaks of that, for
        the path without; every other capability for the path exactly as it is.

        Raises:
            ValueError: there is no such capability to ask for.
        """
        rule = self._folder(path) if capability in _FOLDERS else self._find(path)
        verdict = (_UNMATCHED if rule is None else rule.verdicts).get(capability)
        if verdict is None:
            raise ValueError(f"{capability!a} is no capability to ask for")
        return _verdict(rule, Capability(capability), Capability.SUDO) if sudo else verdict

    def capabilities(self, path: str) -> tuple[str, ...]:
        """Return what may be done to `path` as sys/capabilities answers it, sorted.

        It is `("root",)` for the root policy, and `("deny",)` where nothing is given. A path that ends in a slash is
        looked up as for listing.
        """
        if self._root is not None:
            return (ROOT.name,)
        rule = self._folder(path) if path.endswith("/") else self._find(path)
        return tuple(sorted(rule.capabilities)) if rule and rule.capabilities else (Capability.DENY.value,)

    def reaches(self, folder: str) -> bool:
        """Tell whether anything at all may be done to some path below `folder`, which ends in a slash."""
        if self._root is not None:
            return True
        below = folder.split("/")[:-1]
        return any(ruling.capabilities and _meets(ruling.pattern.split("/"), below) for ruling in self._rulings)

    def _find(self, path: str) -> Ruling | None:
        return self._root or self._plain.get(path) or self._match(path)

    def _folder(self, path: str) -> Ruling | None:
        folder = path if path.endswith("/") else path + "/"
        name = folder[:-1]
        plain = self._root or self._plain.get(folder) or self._plain.get(name)
        return plain or self._match(folder) or self._match(name)

    def _match(self, path: str) -> Ruling | None:
        """Return the deciding one of the patterns with `*` or `+` that match."""
        found: list[Ruling] = []
        nodes = [self._trie]
        for segment in path.split("/"):
            below: list[_Node] = []
            for node in nodes:
                for length in node.lengths:
                    glob = node.globs.get(segment[:length])
                    if glob is not None:
                        found.append(glob)
                child = node.below.get(segment)
                if child is not None:
                    below.append(child)
                if node.any is not None:
                    below.append(node.any)
            nodes = below
            if not nodes:
                break
        found.extend(node.here for node in nodes if node.here is not None)
        return max(found, key=_rank) if len(found) > 1 else found[0] if found else None


_rank = attrgetter("rank")


def _meets(pattern: Sequence[str], below: Sequence[str]) -> bool:
    """Tell whether a pattern matches some path whose first segments are `below`, and that is longer."""
    for position, segment in enumerate(below):
        if position == len(pattern) - 1:
            return pattern[-1].endswith("*") and segment.startswith(pattern[-1][:-1])
        if pattern[position] not in {"+", segment}:
            return False
    return True


def compile(policies: Sequence[Policy]) -> Acl:  # noqa: A001 - always called as acl.compile
    """Return what `policies` allow together."""
    sources: dict[str, dict[str, frozenset[Capability]]] = {}
    for policy in policies:
        for rule in policy.rules:
            held = sources.setdefault(rule.pattern, {})
            held[policy.name] = held.get(policy.name, frozenset()) | rule.capabilities
    ranked = enumerate(sorted(sources, key=_specificity))
    rulings = (_ruling(pattern, sources[pattern], rank) for rank, pattern in ranked)
    return Acl(rulings, root=ROOT in policies)


def _ruling(pattern: str, held: Mapping[str, frozenset[Capability]], rank: int) -> Ruling:
    union = frozenset[Capability]().union(*held.values())
    sources = tuple(Source(name, held[name]) for name in sorted(held))
    return Ruling(pattern, frozenset() if Capability.DENY in union else union, sources, rank)


def _has_plus(pattern: str) -> bool:
    """Tell whether the pattern counts as one with `+`.

    A `+` within a segment is a plain character. One that begins a longer segment, as in `a/+x`, is so too, but the
    pattern is ranked as if that character were the wildcard.
    """
    return pattern == "+" or pattern.startswith("+/") or "/+" in pattern


def _specificity(pattern: str) -> tuple[int, bool, int, int, str]:
    """Return the key by which the most specific pattern comes last, as the Vault HTTP API orders them.

    What makes a pattern less specific: an earlier first `+` or `*`; ending in `*`; more `+` segments; being shorter;
    being lexicographically smaller.
    """
    glob = pattern.endswith("*")
    first = pattern.index("+") if _has_plus(pattern) else len(pattern)
    return first - (glob and not _has_plus(pattern)), not glob, -pattern.split("/").count("+"), len(pattern), pattern
