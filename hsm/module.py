"""One PKCS#11 shared object in this process: initialised once for all its users, restarted only when nobody is inside.

C_Initialize and C_Finalize act on the whole process, so this is the one thing of the room that is shared between the
`Hsm` objects of different tokens. Its `generation` counts the initialisations: no handle outlives one, because
modules number handles anew, and an old number would then name another key.
"""

import contextlib
import os
import threading
import time
from collections.abc import Callable
from pathlib import Path

from pkcs11 import _pkcs11
from pkcs11.exceptions import PKCS11Error, TokenNotPresent, TokenNotRecognised
from pkcs11.types import Token

from hsm.cryptoki import Cryptoki
from hsm.errors import HsmStuck, HsmUnavailable

INIT_PATIENCE = 10.0  # seconds: how long the first user waits for calls that a failed restart left inside


class _Library(_pkcs11.lib):
    """python-pkcs11's library, which leaves initialising to us."""

    def initialize(self) -> None:
        """Do nothing: the module has been initialised already, with locking."""


class Module:
    """A loaded module; make it with `load_module`."""

    def __init__(self, path: Path) -> None:
        self.path = path
        self.calls = Cryptoki(path)
        self._library: _Library | None = None
        self._reset()
        os.register_at_fork(after_in_child=self._reset_after_fork)

    def _reset(self) -> None:
        self._counting = threading.Lock()
        self._condition = threading.Condition()
        self._initialized = self._restarting = self._hung = False
        self._users = self._inside = 0
        self._since: dict[int, float] = {}
        self._generation = getattr(self, "_generation", 0) + 1

    def _reset_after_fork(self) -> None:
        # The child inherits locks and counts that belong to the parent's threads.
        self._reset()

    @property
    def generation(self) -> int:
        """How many times the module was initialised, or lost: a handle is good within one generation only."""
        return self._generation

    @property
    def manufacturer(self) -> str:
        """Who made the module, as it says itself (C_GetInfo); empty before it was initialised."""
        return self._library.manufacturer_id if self._library is not None else ""

    def acquire(self) -> None:
        """Count one more user; the first initialises the module. Raises HsmStuck when a call hangs inside it."""
        with self._counting:
            with self._condition:
                self._condition.wait_for(lambda: not self._restarting, INIT_PATIENCE)
                ready = self._initialized
            if not ready:
                self._alone(None, INIT_PATIENCE, self._initialize_once)
            self._users += 1

    def release(self, drain: float) -> None:
        """Count one user fewer; the last finalises the module, unless a call is still inside after `drain` seconds."""
        with self._counting:
            self._users -= 1
            if self._users:
                return
            with contextlib.suppress(HsmStuck):
                self._alone(None, drain, self._finalize)

    def enter(self, timeout: float) -> int:
        """Begin a call and return the generation it runs in; wait while the module restarts."""
        with self._condition:
            if self._restarting and not self._condition.wait_for(lambda: not self._restarting, timeout):
                raise HsmUnavailable("the PKCS#11 module is still restarting")
            self._inside += 1
            self._since[threading.get_ident()] = time.monotonic()
            return self._generation

    def leave(self) -> None:
        """End a call."""
        with self._condition:
            self._inside -= 1
            self._since.pop(threading.get_ident(), None)
            self._hung = self._hung and self._inside > 0
            if self._restarting and self._inside == 0:
                self._condition.notify_all()

    def is_stuck(self, patience: float) -> bool:
        """Tell whether a call hangs inside: a restart waited for it in vain, or it has taken `patience` seconds.

        Nothing can cancel it, so that only a new process serves again.
        """
        with self._condition:
            oldest = min(self._since.values(), default=time.monotonic())
            return self._hung or time.monotonic() - oldest > patience

    def restart(self, seen: int, drain: float) -> None:
        """Finalise and initialise, unless somebody did since generation `seen`.

        New calls wait; those inside have `drain` seconds to come out, or HsmStuck is raised: finalising a module under
        a running call would crash the process.
        """
        self._alone(seen, drain, self._reinitialize)

    def tokens(self) -> list[Token]:
        """List the tokens that are present, as the module sees them now. Call it between `enter` and `leave`."""
        if self._library is None:
            raise TokenNotPresent
        found = []
        for slot in self._library.get_slots(token_present=True):
            with contextlib.suppress(TokenNotPresent, TokenNotRecognised):
                found.append(slot.get_token())
        return found

    def _alone(self, seen: int | None, drain: float, act: Callable[[], None]) -> None:
        """Run `act` while nobody is inside; when `seen` is given, only if that is the generation still."""
        with self._condition:
            before = self._generation
            # The other one drains for as long as we would, and then acts.
            waited = self._restarting
            if not self._condition.wait_for(lambda: not self._restarting, 2 * drain):
                raise HsmStuck(f"{self.path.name} has hung while it was restarted")
            if seen is not None and self._generation != seen:
                return
            if waited and seen is not None and self._generation == before:
                raise HsmStuck(f"a call has hung inside {self.path.name}")  # do not let each of many threads wait anew
            self._restarting = True
        try:
            with self._condition:
                if not self._condition.wait_for(lambda: self._inside == 0, drain):
                    self._hung = True
                    raise HsmStuck(f"a call has hung inside {self.path.name} for {drain:g} s")
                self._since[threading.get_ident()] = time.monotonic()
            act()
        finally:
            with self._condition:
                self._restarting = False
                self._since.pop(threading.get_ident(), None)
                self._condition.notify_all()

    def _initialize_once(self) -> None:
        if not self._initialized:
            self._initialize()

    def _initialize(self) -> None:
        self.calls.initialize()
        self._initialized = True
        self._generation += 1
        if self._library is None:
            self._library = _Library(str(self.path))

    def _finalize(self) -> None:
        self._initialized = False
        self._generation += 1
        self.calls.finalize()

    def _reinitialize(self) -> None:
        self._finalize()
        # That it cannot be initialised now shows at the next call, as CKR_CRYPTOKI_NOT_INITIALIZED.
        with contextlib.suppress(PKCS11Error):
            self._initialize()


class _Modules:
    """The modules loaded in this process, each once."""

    def __init__(self) -> None:
        self._by_path: dict[Path, Module] = {}
        self._lock = threading.Lock()
        os.register_at_fork(after_in_child=self._reset_after_fork)

    def _reset_after_fork(self) -> None:
        # A thread of the parent's may have held it.
        self._lock = threading.Lock()

    def load(self, path: Path) -> Module:
        """Return the module of that path."""
        with self._lock:
            if path not in self._by_path:
                self._by_path[path] = Module(path)
            return self._by_path[path]

    def loaded(self) -> list[Module]:
        """Return those that are loaded."""
        with self._lock:
            return list(self._by_path.values())


_modules = _Modules()


def load_module(path: str | Path) -> Module:
    """Return the module of that shared object; the same one for every name that leads to the same file.

    Raises HsmMisconfigured when it is not a PKCS#11 module.
    """
    return _modules.load(Path(path).resolve())


def stuck_module(patience: float) -> Path | None:
    """Return a module inside which a call hangs, if there is one (`Module.is_stuck`)."""
    return next((module.path for module in _modules.loaded() if module.is_stuck(patience)), None)
