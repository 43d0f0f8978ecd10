"""What a set of rules gives at a path, by the letter of the Vault API's documentation and in no hurry."""

import functools
import re
from collections.abc import Sequence

Rules = Sequence[tuple[str, frozenset[str]]]
"""Patterns and what they give, of all policies together."""


def _matches(pattern: str, path: str) -> bool:
    parts = ["[^/]*" if part == "+" else re.escape(part) for part in pattern.removesuffix("*").split("/")]
    return re.fullmatch("/".join(parts) + (".*" if pattern.endswith("*") else ""), path) is not None


def _is_plain(pattern: str) -> bool:
    return not pattern.endswith("*") and "+" not in pattern


def _compare(one: str, other: str) -> int:
    """Return more than 0 if `one` is of higher priority, less if `other` is: the five rules, in their order."""
    first = [re.search(r"\+|\*$|$", pattern) for pattern in (one, other)]
    begins = [found.start() for found in first if found]
    pluses = [pattern.split("/").count("+") for pattern in (one, other)]
    lengths = [len(one), len(other)]
    rules = [begins, [not one.endswith("*"), not other.endswith("*")], pluses[::-1], lengths, [one, other]]
    return next(((left > right) - (left < right) for left, right in rules if left != right), 0)


def _given(rules: Rules, path: str) -> frozenset[str] | None:
    """Return what the deciding pattern gives at exactly this path; None: no pattern matches."""
    matching = {pattern for pattern, _ in rules if _matches(pattern, path)}
    if not matching:
        return None
    decides = next(filter(_is_plain, matching), max(matching, key=functools.cmp_to_key(_compare)))
    union = frozenset[str]().union(*(given for pattern, given in rules if pattern == decides))
    return frozenset() if "deny" in union else union


def allows(rules: Rules, path: str, capability: str) -> bool:
    """Tell whether `capability` is given: to list or scan is done to a folder, with or without its slash."""
    if capability not in {"list", "scan"}:
        return capability in (_given(rules, path) or ())
    name = path.removesuffix("/")
    plain = [rule for rule in rules if _is_plain(rule[0])]
    tries = [_given(plain, name + "/"), _given(plain, name), _given(rules, name + "/"), _given(rules, name)]
    return capability in next((given for given in tries if given is not None), ())
