"""Whether the service can do its work now: database, HSM, clock, and fresh CRLs.

Anybody may ask, so what is asked is found out once a second at most, by one thread; the others hear what is known.
"""

import logging
import threading
from collections.abc import Callable, Mapping
from dataclasses import dataclass

from hsm.device import Hsm
from hsm.errors import HsmError
from pki.api.figures import Figures
from pki.audit.trail import Trail
from pki.clock import Clock
from pki.errors import NotReady, SealwardError
from pki.seal.keyring import Keyring
from pki.storage import epochs
from pki.storage.database import Database

logger = logging.getLogger("sealward.api")

_FRESH_SECONDS = 1.0


@dataclass(slots=True)
class _Known:
    """The last result of a check, and when it was found out."""

    at: float
    is_good: bool


class Watch:
    """One check, run once a second at most; a failure is logged when it begins, its reason told to nobody else."""

    def __init__(self, name: str, check: Callable[[], object], clock: Clock) -> None:
        self.name = name
        self._check = check
        self._clock = clock
        self._busy = threading.Lock()
        self._known: _Known | None = None

    def is_good(self) -> bool:
        """Tell whether the check passes, as of now or a second ago."""
        known = self._known
        if known is not None and self._clock.monotonic() - known.at < _FRESH_SECONDS:
            return known.is_good
        if not self._busy.acquire(blocking=known is None):
            return known is None or known.is_good
        try:
            return self._find_out()
        finally:
            self._busy.release()

    def _find_out(self) -> bool:
        try:
            self._check()
            is_good = True
        except (SealwardError, HsmError) as error:
            is_good = False
            if self._known is None or self._known.is_good:
                logger.error("not ready, %s: %s", self.name, error)  # noqa: TRY400 - its message says it all
        self._known = _Known(self._clock.monotonic(), is_good)
        return is_good


class Readiness:
    """The checks, by name."""

    def __init__(
        self, *, database: Database, hsm: Hsm, keyring: Keyring, trail: Trail, figures: Figures, clock: Clock
    ) -> None:
        self._keyring = keyring
        self._hsm = hsm
        self._figures = figures
        self._clock = clock

        def check_clock() -> None:
            with database.read() as tx:
                trail.require_forward(tx)

        checks: dict[str, Callable[[], object]] = {
            "database": lambda: epochs.read(database),  # a row: SQLite answers SELECT 1 without its file
            "hsm": self._check_seal,
            "clock": check_clock,
            "crl": self._check_crls,
        }
        self._watches = {name: Watch(name, check, clock) for name, check in checks.items()}

    def results(self) -> Mapping[str, bool]:
        """Return each check's result."""
        return {name: watch.is_good() for name, watch in self._watches.items()}

    def is_sealed(self) -> bool:
        """Tell whether nothing sealed can be opened: the HSM does not serve, or the keyring is locked."""
        return not self._watches["hsm"].is_good()

    def has_database(self) -> bool:
        """Tell whether the database answers."""
        return self._watches["database"].is_good()

    def _check_seal(self) -> None:
        if self._keyring.locked:
            raise NotReady("the keyring is locked")
        self._hsm.check()

    def _check_crls(self) -> None:
        now = self._clock.now()
        for issuer, until in self._figures.crls_until().items():
            if until is None or until <= now:
                raise NotReady(f"issuer {issuer} has no CRL that is valid now", advice="see that the duties run")
