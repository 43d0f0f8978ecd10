"""One token, logged in for life: a pool of sessions without PIN, and the recovery of what breaks.

A failed call is classified (`hsm.faults`), its session thrown away, the cause mended, and the call made once more for
each kind of cure. That is safe because every call of this room can be repeated: what is signed is fixed before it is
signed, and a key is generated under an id chosen beforehand.
"""

import os
import threading
import time
from collections.abc import Callable
from typing import TypeVar

from pkcs11.constants import Attribute, ObjectClass
from pkcs11.exceptions import (
    PKCS11Error,
    SessionCount,
    TokenNotPresent,
    TokenNotRecognised,
    UserAlreadyLoggedIn,
    UserNotLoggedIn,
)
from pkcs11.types import Object, Session, Token

from hsm.errors import HsmError, HsmKeyNotFound, HsmLoginFailed, HsmMisconfigured, HsmStuck, HsmUnavailable
from hsm.faults import Fault, classify, meaning
from hsm.lanes import Lane, Turnstile
from hsm.module import Module
from hsm.quirks import Quirks, quirks_of
from hsm.templates import Mapper

COOL_DOWN = 0.25
_LOOKS = 5
_LOOK_AGAIN = 0.03
T = TypeVar("T")


class _AbsentError(HsmMisconfigured):
    """No token of that label is seen."""


class TokenSession:
    """A session and the handles looked up in it; both end together, so that no handle outlives its generation."""

    __slots__ = ("_module", "epoch", "generation", "handles", "raw")

    def __init__(self, raw: Session, module: Module, generation: int, epoch: int) -> None:
        self.raw = raw
        self._module = module
        self.generation = generation
        self.epoch = epoch
        self.handles: dict[tuple[bytes, ObjectClass], Object] = {}

    @property
    def handle(self) -> int:
        """The session's number within the module."""
        return session_handle(self.raw)

    @property
    def quirks(self) -> Quirks:
        """What the module wants otherwise."""
        return quirks_of(self._module.manufacturer)

    def require_login(self) -> None:
        """Raise UserNotLoggedIn, which the caller's `run` mends, unless the user is logged in."""
        if not self._module.calls.is_logged_in(self.handle):
            raise UserNotLoggedIn

    def require_token(self, looks: int = _LOOKS) -> None:
        """Raise what the module says, or TokenNotPresent, unless the token is still in its slot.

        It is looked for some times, since it may be hidden for a moment while another process logs in (SoftHSM).
        """
        try:
            if self.raw.token.slot.get_token().serial == self.raw.token.serial:
                return
        except (TokenNotPresent, TokenNotRecognised):
            if looks == 1:
                raise
        if looks == 1:
            raise TokenNotPresent
        time.sleep(_LOOK_AGAIN)
        self.require_token(looks - 1)

    def search(self, template: dict[Attribute, object]) -> list[Object]:
        """Return all objects that match; the search is always run to its end, or it would hold the session."""
        # Without a login private objects are invisible, and a token that was removed may show none (SoftHSM does so):
        # neither must read as "there is no such key". Asked before and after, since others log in meanwhile.
        self.require_login()
        found = list(self.raw.get_objects(template))
        if not found:
            self.require_token()
            self.require_login()
        return found

    def find(self, key_id: bytes, kind: ObjectClass) -> Object | None:
        """Return the object of that CKA_ID and class, or None. Raises HsmMisconfigured when there are several."""
        cached = self.handles.get((key_id, kind))
        if cached is not None:
            return cached
        found = self.search({Attribute.CLASS: kind, Attribute.ID: key_id})
        if len(found) > 1:
            raise HsmMisconfigured(
                f"the token holds {len(found)} {kind.name} objects of id {key_id.hex()}",
                advice="remove all but the right one",
            )
        if not found:
            return None
        self.handles[(key_id, kind)] = found[0]
        return found[0]

    def get(self, key_id: bytes, kind: ObjectClass) -> Object:
        """Return the object of that CKA_ID and class. Raises HsmKeyNotFound."""
        found = self.find(key_id, kind)
        if found is None:
            raise HsmKeyNotFound(f"the token holds no {kind.name} of id {key_id.hex()}")
        return found


def session_handle(session: Session) -> int:
    """Return a session's number within the module (python-pkcs11's stubs do not mention it)."""
    return int(session.handle)  # type: ignore[attr-defined]


class Sessions:
    """The sessions of one process with one token.

    `size` sessions at most, opened as they are needed and reused last-in first-out; one more session holds the login.
    `timeout` in seconds bounds the wait for a session, for a restarting module, and for calls to drain from it.
    """

    def __init__(self, module: Module, label: str, pin: str, size: int, timeout: float) -> None:
        self._module = module
        self._label = label
        self._pin = pin
        self._timeout = timeout
        self._turnstile = Turnstile(size, timeout)
        self._pid = os.getpid()
        self._idle: list[TokenSession] = []
        self._open: set[TokenSession] = set()
        self._login_lock = threading.Lock()
        self._login_session: Session | None = None
        self._pin_refused = self._closed = False
        self._serial: bytes | None = None
        self._token: Token | None = None
        self._generation = self._epoch = 0
        self._down_until = 0.0

    @property
    def generation(self) -> int:
        """The module's generation in which the token was last found and logged into."""
        return self._generation

    def run(self, lane: Lane, work: Callable[[TokenSession], T]) -> T:
        """Run `work` on a session of its own, recovering once from each kind of fault.

        Do not call it from within `work`. Raises HsmBusy, HsmUnavailable, HsmLoginFailed, HsmUnsupported, and what
        `work` raises.
        """
        self._refuse_if_unusable()
        self._turnstile.enter(lane)
        try:
            return self._run_recovering(lane, work)
        finally:
            self._turnstile.leave()

    @property
    def serial(self) -> str:
        """The token's serial number; empty before the first login."""
        return (self._serial or b"").decode("utf-8", "replace").strip()

    def forget_handles(self) -> None:
        """Look every handle up anew: an object was destroyed, and its number may be given to another."""
        self._epoch += 1

    def close(self) -> None:
        """Close every session (the last one logs out) and let go of the module. Closing twice is no error."""
        if self._closed or self._pid != os.getpid():
            return
        self._closed = True
        try:
            generation = self._module.enter(self._timeout)
            try:
                self._drop_idle(generation)
                if self._login_session is not None and self._generation == generation:
                    self._module.calls.close_session(session_handle(self._login_session))
            finally:
                self._module.leave()
        finally:
            self._module.release(self._timeout)

    def _refuse_if_unusable(self) -> None:
        if self._pid != os.getpid():
            raise HsmUnavailable(
                "this Hsm was opened before a fork", advice="open the Hsm in the process that uses it, after the fork"
            )
        self._refuse_if_closed()
        if self._pin_refused:
            raise HsmLoginFailed("the token refused the PIN before")
        if time.monotonic() < self._down_until:
            raise HsmUnavailable("the token does not serve; a recovery failed a moment ago")

    def _refuse_if_closed(self) -> None:
        if self._closed:
            raise HsmUnavailable("this Hsm is closed", advice="open another")

    def _run_recovering(self, lane: Lane, work: Callable[[TokenSession], T]) -> T:
        tried: set[Fault] = set()
        cure: Fault | None = None
        while True:
            generation = self._module.enter(self._timeout)
            try:
                return self._attempt(generation, cure, work)
            except PKCS11Error as error:
                failure = error
            finally:
                self._module.leave()
            cure = self._diagnose(failure, tried)
            tried.add(cure)
            if cure is Fault.MODULE:
                self._restart(generation)
            elif cure is Fault.CAPACITY:
                # A session it had no room for is one more than there are; other shortages have no such measure.
                self._turnstile.shrink(len(self._open) if isinstance(failure, SessionCount) else None)
                self._turnstile.again(lane)

    def _diagnose(self, failure: PKCS11Error, tried: set[Fault]) -> Fault:
        """Return the cure to try next; raise the failure's meaning when there is none left."""
        fault = classify(failure, tried)
        if fault in tried or fault in (Fault.PIN, Fault.REQUEST):
            if fault is Fault.MODULE:
                self._cool_down()
            raise meaning(failure, fault) from failure
        return fault

    def _attempt(self, generation: int, cure: Fault | None, work: Callable[[TokenSession], T]) -> T:
        """Do the work once, inside the module, after the cure for what befell the attempt before."""
        self._refuse_if_closed()  # it may have been while this call waited for its turn
        if cure in (Fault.SESSION, Fault.LOGIN):
            # What ended one session has often ended them all (idle timeout, daemon restart).
            self._drop_idle(generation)
        self._ensure_connected(generation)
        if cure is Fault.LOGIN:
            self._login_again()
        session = self._take(generation)
        try:
            result = work(session)
        except BaseException:
            # An operation may still be active in it (PKCS#11 2.x has no way to cancel one): never reuse it.
            self._drop(session, generation)
            raise
        self._idle.append(session)
        if self._closed:
            self._drop_idle(generation)
        return result

    def _take(self, generation: int) -> TokenSession:
        try:
            session = self._idle.pop()
        except IndexError:
            session = TokenSession(self._open_session(), self._module, generation, self._epoch)
            self._open.add(session)
            return session
        if session.generation != generation:
            self._drop(session, generation)
            return self._take(generation)
        if session.epoch != self._epoch:
            session.handles.clear()
            session.epoch = self._epoch
        return session

    def _restart(self, seen: int) -> None:
        try:
            self._module.restart(seen, self._timeout)
        except HsmStuck:
            self._cool_down()
            raise

    def _cool_down(self) -> None:
        # While the device is away, answer at once instead of restarting the module for every call.
        self._down_until = time.monotonic() + COOL_DOWN

    def _drop(self, session: TokenSession, generation: int) -> None:
        # The number of a session of another generation may by now be another session's: forget it, never close it.
        if session.generation == generation:
            self._module.calls.close_session(session.handle)
        self._open.discard(session)

    def _drop_idle(self, generation: int) -> None:
        while self._idle:
            try:
                session = self._idle.pop()
            except IndexError:
                return
            self._drop(session, generation)

    def _ensure_connected(self, generation: int) -> None:
        if self._generation == generation:
            return
        with self._login_lock:
            if self._generation == generation:
                return
            self._token = self._find_token()
            self._serial = self._token.serial
            self._login_session = None
            self._login()
            self._generation = generation

    def _login_again(self) -> None:
        with self._login_lock:
            try:
                if self._login_session is not None and self._module.calls.is_logged_in(
                    session_handle(self._login_session)
                ):
                    return
            except PKCS11Error:
                self._login_session = None
            self._login()

    def _login(self) -> None:
        """Offer the PIN, once; the caller holds the login lock."""
        if self._pin_refused:
            raise HsmLoginFailed("the token refused the PIN before")
        session = self._login_session or self._open_session()
        try:
            self._module.calls.login(session_handle(session), self._pin)
        except UserAlreadyLoggedIn:  # another Hsm of this process has the same token open
            pass
        except PKCS11Error as error:
            self._pin_refused = classify(error, frozenset()) is Fault.PIN
            self._module.calls.close_session(session_handle(session))
            self._login_session = None
            raise
        self._login_session = session

    def _open_session(self) -> Session:
        if self._token is None:
            raise TokenNotPresent
        return self._token.open(rw=True, attribute_mapper=Mapper())

    def _find_token(self) -> Token:
        labelled = [token for token in self._module.tokens() if token.label == self._label]
        if self._serial is not None:
            for token in labelled:
                if token.serial == self._serial:
                    return token
            raise TokenNotPresent
        if len(labelled) != 1:
            refusal = _AbsentError if not labelled else HsmMisconfigured
            raise refusal(
                f"{self._module.path.name} shows {len(labelled)} tokens labelled {self._label!r}",
                advice="make the token, or name the right one; SoftHSM reads SOFTHSM2_CONF when it is initialised",
            )
        return labelled[0]

    def connect(self) -> None:
        """Find the token and log in now, so that a wrong label or PIN shows at once."""
        try:
            self._connect(_LOOKS)
        except HsmError:
            self.close()
            raise

    def _connect(self, looks: int) -> None:
        seen = self._module.generation
        try:
            self.run(Lane.STATUS, lambda _session: None)
        except _AbsentError:
            # SoftHSM writes a token's file anew at each login, and a process that reads it meanwhile has no token.
            if looks == 1:
                raise
            time.sleep(_LOOK_AGAIN)
            self._module.restart(seen, self._timeout)
            self._connect(looks - 1)
