"""Tokens against a model of them, which knows nothing of rows: a long walk of random acts."""

import random
from dataclasses import dataclass
from datetime import datetime, timedelta

import pytest

from pki.errors import Denied, NotFound, Rejected
from pki.identity.tokens import Made, Tokens
from pki.storage.database import Database, Tx
from tests.clocks import FrozenClock
from tests.pki.identity.conftest import new
from tests.pki.identity.test_tokens import is_good

STEPS = 10_000
BATCH = 20
"""Acts in one transaction, so that a walk does not wait for the disk most of the time."""


@dataclass(eq=False)
class Modelled:
    """What is expected of a token."""

    made: Made
    parent: "Modelled | None"
    lifetime: timedelta
    expires_at: datetime
    last: datetime
    renewable: bool
    uses: int | None
    revoked: bool = False

    def is_live(self, now: datetime) -> bool:
        """A token lives while it and all above it do."""
        return not self.revoked and now < self.expires_at and (self.parent is None or self.parent.is_live(now))

    def is_usable(self, now: datetime) -> bool:
        """Tell whether a request would be served."""
        return self.is_live(now) and self.uses != 0


class Walk:
    """A walk of acts, on the rooms and on the model alike."""

    def __init__(self, database: Database, tokens: Tokens, clock: FrozenClock, dice: random.Random) -> None:
        self.database, self.tokens, self.clock, self.dice = database, tokens, clock, dice
        self.known: list[Modelled] = []

    def some(self) -> Modelled:
        """Return one of the tokens, the latest most likely."""
        return self.known[-1 - min(int(self.dice.expovariate(0.1)), len(self.known) - 1)]

    def add(self, tx: Tx) -> None:
        """Make a token, below another or not."""
        now, dice = self.clock.now(), self.dice
        parent = self.some() if self.known and dice.random() < 0.6 else None
        lifetime = timedelta(minutes=dice.randint(1, 120))
        longest = timedelta(minutes=dice.randint(1, 300))
        uses, renewable = dice.choice([None, None, None, 1, 3]), dice.random() < 0.8
        wanted = new(
            lifetime=lifetime,
            max_lifetime=longest,
            uses=uses,
            renewable=renewable,
            parent=None if parent is None else parent.made.accessor,
        )
        if parent is not None and not (parent.is_live(now) and parent.uses is None):
            with pytest.raises((Denied, Rejected)):
                self.tokens.add(tx, wanted)
            return
        made = self.tokens.add(tx, wanted)
        ends = [now + lifetime, now + longest] + ([] if parent is None else [parent.expires_at])
        assert made.lifetime == (min(ends) - now).total_seconds()
        self.known.append(Modelled(made, parent, lifetime, min(ends), now + longest, renewable, uses))

    def renew(self, tx: Tx) -> None:
        """Renew a token, for as long as it was made for, or less, or more."""
        if not self.known:
            return
        one, now = self.some(), self.clock.now()
        increment = self.dice.choice([None, timedelta(minutes=self.dice.randint(1, 200))])
        if not (one.is_live(now) and one.renewable):
            with pytest.raises((NotFound, Rejected)):
                self.tokens.renew(tx, one.made.accessor, increment)
            return
        ends = [now + min(increment or one.lifetime, one.lifetime), one.last]
        ends += [] if one.parent is None else [one.parent.expires_at]
        one.expires_at = max(one.expires_at, min(ends))
        renewed = self.tokens.renew(tx, one.made.accessor, increment)
        assert renewed.lifetime == (one.expires_at - now).total_seconds()

    def revoke(self, tx: Tx) -> None:
        """Revoke a token with all below it."""
        if self.known:
            one = self.some()
            self.tokens.revoke(tx, one.made.accessor)
            one.revoked = True

    def revoke_alone(self, tx: Tx) -> None:
        """Revoke a token, and leave what is below it."""
        if self.known:
            one = self.some()
            if not one.is_live(self.clock.now()):
                return  # what is below a token that was revoked with all below it stays dead
            self.tokens.revoke_orphan(tx, one.made.accessor)
            one.revoked = True
            for child in self.known:
                if child.parent is one:
                    child.parent = None

    def compare(self) -> tuple[list[object], list[object]]:
        """Return what there is, and whether some of it can be used; and what the model says of the same."""
        now = self.clock.now()
        usable = [one for one in self.known if one.is_usable(now)]
        told: list[object] = [self.tokens.accessors()]
        expected: list[object] = [sorted(one.made.accessor for one in usable)]
        for one in {self.some() for _ in range(5)} if self.known else ():
            told.append(is_good(self.tokens, one.made.token))
            expected.append(one.is_usable(now))
            if one.uses and one.is_usable(now):
                one.uses -= 1
        self.known = [one for one in self.known if one.is_live(now) or self.dice.random() < 0.9]
        return told, expected


def test_ten_thousand_random_acts_end_as_the_model_says(database: Database, tokens: Tokens, clock: FrozenClock) -> None:
    """T5 T2: ends, maxima, uses, orphans and revocations from above, against a model that knows no rows."""
    walk = Walk(database, tokens, clock, random.Random(20300102))
    acts = [walk.add] * 5 + [walk.renew] * 3 + [walk.revoke, walk.revoke_alone]
    for _ in range(STEPS // BATCH):
        chosen = walk.dice.choices(acts, k=BATCH)

        def work(tx: Tx, chosen: list[object] = chosen) -> None:  # type: ignore[assignment]
            for act in chosen:
                act(tx)  # type: ignore[operator]

        database.write(work)
        told, expected = walk.compare()
        assert told == expected
        clock.advance(timedelta(minutes=walk.dice.choice([0, 0, 1, 7])))
