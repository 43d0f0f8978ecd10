"""Client tokens: bearer secrets of which the database keeps a keyed digest only (A10)."""

import hashlib
import hmac
from collections.abc import Sequence
from datetime import timedelta

import orjson
from sqlalchemy import update

from pki.audit.trail import Event, Trail
from pki.clock import Clock, to_ms
from pki.ids import Ids
from pki.storage.database import Database, Tx
from pki.storage.tables import tokens

NAMESPACE = "root"
_PREFIX = "sw."


class Tokens:
    """Makes and revokes tokens. `key` is the service key of the digests: without it a digest cannot even be tried."""

    def __init__(self, database: Database, clock: Clock, ids: Ids, trail: Trail, key: bytes) -> None:
        self._database = database
        self._clock = clock
        self._ids = ids
        self._trail = trail
        self._key = key

    def make(self, kind: str, policies: Sequence[str], lifetime: timedelta | None) -> str:
        """Return a new token of that kind (bootstrap, root, service), which is shown this once.

        `lifetime` None means until it is revoked.
        """
        token = _PREFIX + self._ids.token()
        now, accessor = self._clock.now(), self._ids.new()
        values = {
            "id": accessor,
            "namespace_id": NAMESPACE,
            "digest": self._digest(token),
            "kind": kind,
            "policies": orjson.dumps(list(policies)).decode(),
            "created_at": to_ms(now),
            "expires_at": None if lifetime is None else to_ms(now + lifetime),
        }

        def work(tx: Tx) -> None:
            tx.execute(tokens.insert().values(values))
            self._trail.record(tx, Event("house:tokens", "token.create", accessor, detail={"kind": kind}))

        self._database.write(work)
        return token

    def revoke_kind(self, kind: str) -> int:
        """Revoke every token of that kind; return how many there were."""

        def work(tx: Tx) -> int:
            done = tx.execute(
                update(tokens)
                .where(tokens.c.namespace_id == NAMESPACE, tokens.c.kind == kind, tokens.c.revoked_at.is_(None))
                .values(revoked_at=to_ms(self._clock.now()))
            )
            if done.rowcount:
                event = Event("house:tokens", "token.revoke", kind, detail={"count": done.rowcount})
                self._trail.record(tx, event)
            return done.rowcount

        return self._database.write(work)

    def _digest(self, token: str) -> str:
        return hmac.digest(self._key, token.encode(), hashlib.sha256).hex()
