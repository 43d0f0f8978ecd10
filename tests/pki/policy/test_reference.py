"""Our verdicts are those of a second evaluator, which was written from the documentation and shares no line with it."""

import random
from itertools import chain

from pki.policy import acl
from pki.policy.document import Capability
from tests.counts import count
from tests.pki.policy import dice, reference

_PATTERN_SEGMENTS = ("a", "a", "b", "ab", "+", "+")
_PATH_SEGMENTS = ("a", "a", "b", "ab", "aba")
_PATHS = 40
_ASKED = [capability for capability in Capability if capability is not Capability.DENY]


def test_verdicts_equal_those_of_the_reference_evaluator() -> None:
    """P3: 100,000 random cases, LIST and deny among them; a million in the soak."""
    chance = random.Random(3)
    allowed = cases = 0
    while cases < count(100_000, 1_000_000):
        documents = [dice.rules(chance, _PATTERN_SEGMENTS) for _ in range(chance.randint(1, 3))]
        compiled = acl.compile(dice.policies(documents))
        rules = list(chain.from_iterable(documents))
        for _ in range(_PATHS):
            path, capability = dice.path(chance, _PATH_SEGMENTS), chance.choice(_ASKED)
            verdict = compiled.decide(path, capability)
            assert verdict.allowed == reference.allows(rules, path, capability), (rules, path, capability)
            cases += 1
            allowed += verdict.allowed
    assert allowed > cases // 20, "the dice must hit often enough to tell the evaluators apart"


def test_a_verdict_names_the_policies_that_hold_its_pattern() -> None:
    """DESIGN decision 4: the trace is true; checked against the documents themselves."""
    chance = random.Random(4)
    for _ in range(300):
        policies = dice.policies([dice.rules(chance, _PATTERN_SEGMENTS) for _ in range(3)])
        compiled = acl.compile(policies)
        for _ in range(20):
            path, capability = dice.path(chance, _PATH_SEGMENTS), chance.choice(_ASKED)
            verdict = compiled.decide(path, capability)
            rule = verdict.rule
            holding = [p.name for p in policies if rule and rule.pattern in {r.pattern for r in p.rules}]
            assert list(verdict.policies) == holding
            assert verdict.allowed == (not verdict.missing)
            assert set(verdict.missing) == {capability} - (rule.capabilities if rule else set())
