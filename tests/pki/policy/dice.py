"""Random policies over a small alphabet, so that their patterns collide, and paths that they may match."""

import json
import random
from collections.abc import Sequence

from pki.policy.document import Capability, Policy, parse

Rule = tuple[str, frozenset[str]]
_GIVEN = [str(capability) for capability in Capability if capability is not Capability.DENY]
_ENDS = ("", "", "", "/", "*", "*", "/*")


def pattern(dice: random.Random, segments: Sequence[str]) -> str:
    """Return a pattern of up to four of `segments`."""
    written = "/".join(dice.choices(segments, k=dice.randint(1, 4))) + dice.choice(_ENDS)
    return written.replace("+*", "+/*")


def path(dice: random.Random, segments: Sequence[str]) -> str:
    """Return a path of up to five of `segments`, now and then with a slash at its end."""
    return "/".join(dice.choices(segments, k=dice.randint(1, 5))) + dice.choice(("", "", "/"))


def rules(dice: random.Random, segments: Sequence[str]) -> list[Rule]:
    """Return up to six rules; about every seventh denies."""
    return [(pattern(dice, segments), _capabilities(dice)) for _ in range(dice.randint(1, 6))]


def _capabilities(dice: random.Random) -> frozenset[str]:
    given = dice.sample(_GIVEN, dice.randint(1, 4))
    return frozenset([*given, "deny"] if dice.random() < 0.15 else given)


def hcl(written: Sequence[Rule]) -> str:
    """Return the rules as a document."""
    return "\n".join(f'path "{at}" {{ capabilities = {json.dumps(sorted(given))} }}' for at, given in written)


def policies(documents: Sequence[Sequence[Rule]]) -> list[Policy]:
    """Return a policy for each of `documents`, read from its text."""
    return [parse(f"policy-{number}", hcl(written)) for number, written in enumerate(documents)]
