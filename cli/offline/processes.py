"""The process tree of one Sealward: a supervisor that holds no secret, the listeners, and the runner of duties.

The supervisor forks each part before any of them loads a PKCS#11 module (no module promises to survive a fork).
A part that ends is started again; when the supervisor dies, the kernel ends the parts with it.
"""

import contextlib
import ctypes
import logging
import multiprocessing
import os
import signal
import sys
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from multiprocessing.process import BaseProcess
from typing import Self, TypeVar

from cli.failures import explain, in_one_line
from hsm.errors import HsmLoginFailed
from pki.errors import SealwardError

logger = logging.getLogger("sealward")
T = TypeVar("T")

_PR_SET_PDEATHSIG = 1
_ENDING = (signal.SIGTERM, signal.SIGINT, signal.SIGHUP)
_STOP_SECONDS = 10.0
_PAUSE = 0.1
_LONGEST_REST = 30.0
_SHORT_REST = 1.0
_LISTENING_SECONDS = 1.0
"""The age at which a listener that has loaded listens as well."""
_CONTEXT = multiprocessing.get_context("fork")
_READY, _PIN_REFUSED = b"r", b"p"


class Stopped(BaseException):
    """SIGTERM, SIGINT or SIGHUP came: unwind, and end."""


def die_with_parent(parent: int) -> None:
    """End this process when `parent`, which forked it, ends (prctl(2), PR_SET_PDEATHSIG)."""
    ctypes.CDLL(None, use_errno=True).prctl(_PR_SET_PDEATHSIG, signal.SIGKILL, 0, 0, 0)
    if os.getppid() != parent:  # it was quicker
        os._exit(1)


@contextlib.contextmanager
def ending_on_signals() -> Iterator[None]:
    """Leave the block in good order on SIGTERM, SIGINT or SIGHUP; a second one changes nothing.

    A SIGHUP that is ignored already (nohup) stays so.
    """

    def stop(_number: int, _frame: object) -> None:
        for number in _ENDING:
            signal.signal(number, signal.SIG_IGN)
        raise Stopped

    for number in _ENDING:
        if signal.getsignal(number) is not signal.SIG_IGN:
            signal.signal(number, stop)
    with contextlib.suppress(Stopped):
        yield


@contextlib.contextmanager
def _signals_held() -> Iterator[None]:
    """Let no signal come between a fork and the note of it."""
    before = signal.pthread_sigmask(signal.SIG_BLOCK, _ENDING)
    try:
        yield
    finally:
        signal.pthread_sigmask(signal.SIG_SETMASK, before)


def begin_child(parent: int) -> None:
    """Let a process just forked end with its parent, and end at once on the signals that end the service."""
    die_with_parent(parent)
    for number in _ENDING:
        signal.signal(number, signal.SIG_DFL)
    signal.pthread_sigmask(signal.SIG_UNBLOCK, _ENDING)


def run_forked(work: Callable[[], T]) -> T:
    """Run `work` in a child and return what it returns; this process stays free of what it loads.

    Raises:
        SealwardError: `work` raised; message and advice are those of its error.
    """
    receiver, sender = _CONTEXT.Pipe(duplex=False)
    parent = os.getpid()

    def body() -> None:
        begin_child(parent)
        try:
            sender.send((work(), None))
        except Exception as error:
            logger.debug("a step failed", exc_info=True)
            sender.send((None, explain(error)))

    child = _CONTEXT.Process(target=body)
    with _signals_held():
        child.start()
    sender.close()
    try:
        result, failure = receiver.recv()
    except EOFError:
        child.join()
        raise SealwardError(
            f"a step of the start ended with code {child.exitcode}", advice="look for what the system killed it for"
        ) from None
    finally:
        receiver.close()
        _end(child)
    if failure is not None:
        raise SealwardError(failure[0], advice=failure[1])
    value: T = result
    return value


def _end(child: BaseProcess) -> None:
    child.join(1.0)
    if child.is_alive():
        child.kill()
        child.join()


class Announcer:
    """How a part tells the supervisor that it is ready, or that the token refused its PIN."""

    def __init__(self, descriptor: int) -> None:
        self._descriptor = descriptor

    def ready(self) -> None:
        """Say that what the part needs is open."""
        os.write(self._descriptor, _READY)

    @contextlib.contextmanager
    def ending_on_failure(self) -> Iterator[None]:
        """End the process with one line in the log when the block fails."""
        try:
            yield
        except Exception as error:
            if isinstance(error, HsmLoginFailed):
                os.write(self._descriptor, _PIN_REFUSED)
            logger.debug("a part failed", exc_info=True)
            logger.error("%s", in_one_line(error))  # noqa: TRY400 - one line is what the log is for
            sys.exit(1)


@dataclass
class _Run:
    """One process of a part."""

    process: BaseProcess
    ear: int
    born: float = field(default_factory=time.monotonic)
    ready: bool = False
    pin_refused: bool = False

    def listen(self) -> None:
        """Take in what the part has announced."""
        with contextlib.suppress(BlockingIOError):
            heard = os.read(self.ear, 16)
            self.ready = self.ready or _READY in heard
            self.pin_refused = self.pin_refused or _PIN_REFUSED in heard

    def close(self) -> None:
        """Forget a process that has ended."""
        os.close(self.ear)


Target = Callable[[Announcer], None]


@dataclass
class _Part:
    name: str
    target: Target
    run: _Run
    successor: _Run | None = None
    outdated: bool = False
    fallen: bool = False
    failures: int = 0
    rest_until: float = 0.0

    @property
    def runs(self) -> list[_Run]:
        """The present process, and the one that will take its place."""
        return [self.run] if self.successor is None else [self.run, self.successor]


class Supervisor:
    """Keeps the parts running until the caller leaves `watch`, then stops them.

    Parts are begun one after the other: SoftHSM rewrites the token's file at each login, and whoever opens the token
    at that moment finds none (measured: one in four of four processes that opened it together).
    """

    def __init__(self) -> None:
        self._parts: list[_Part] = []
        self._leaving: list[_Run] = []
        self._pin_refused = False

    def __enter__(self) -> Self:
        """Return itself."""
        return self

    def __exit__(self, *_: object) -> None:
        """Stop every part."""
        self.stop()

    def start(self, name: str, target: Target, seconds: float) -> None:
        """Fork a part that runs `target` for ever; return when it has said that it is ready.

        Raises:
            SealwardError: it ended instead (and logged why), or said nothing in that time.
        """
        part = _Part(name, target, self._fork(name, target))
        self._parts.append(part)
        deadline = time.monotonic() + seconds
        while not self._is_ready(part.run):
            if not part.run.process.is_alive():
                raise SealwardError(f"{name} does not start", advice="the line before this one says why")
            if time.monotonic() > deadline:
                raise SealwardError(f"{name} is not ready after {seconds:g} s", advice="try again")
            time.sleep(0.01)

    def watch(self, each_turn: Callable[[], None]) -> None:
        """Replace parts that end, and call `each_turn` several times a second, for ever.

        Raises:
            SealwardError: the token refuses the PIN, and nothing that served is left.
        """
        while True:
            time.sleep(_PAUSE)
            for part in self._parts:
                self._tend(part)
            self._leaving = [run for run in self._leaving if not _is_gone(run)]
            if self._pin_refused and not any(part.run.process.is_alive() for part in self._parts):
                raise SealwardError("the token refuses the PIN", advice="mend the PIN's file, then start again")
            each_turn()

    def replace(self, name: str) -> None:
        """Put new processes in the place of the parts called `name`: each old one stops when its new one is ready."""
        for part in self._parts:
            part.outdated = part.outdated or part.name == name

    def stop(self) -> None:
        """End every part: SIGTERM first, SIGKILL after ten seconds."""
        runs = [run for part in self._parts for run in part.runs] + self._leaving
        for run in runs:
            run.process.terminate()
        deadline = time.monotonic() + _STOP_SECONDS
        for run in runs:
            run.process.join(max(0.0, deadline - time.monotonic()))
            if run.process.is_alive():
                run.process.kill()
                run.process.join()
            run.close()
        self._parts, self._leaving = [], []

    def _fork(self, name: str, target: Target) -> _Run:
        ear, mouth = os.pipe()
        os.set_blocking(ear, False)
        parent = os.getpid()

        def body() -> None:
            begin_child(parent)
            announcer = Announcer(mouth)
            with announcer.ending_on_failure():
                target(announcer)

        process = _CONTEXT.Process(target=body, name=name)
        with _signals_held():
            process.start()
        os.close(mouth)
        return _Run(process, ear)

    def _is_ready(self, run: _Run) -> bool:
        run.listen()
        self._pin_refused = self._pin_refused or run.pin_refused
        return run.ready

    def _may_begin(self, part: _Part) -> bool:
        """Whether a process of this part may be begun now: no other is on its way, and the token takes the PIN.

        Tokens lock after a few wrong PINs: once refused, it is offered no more.
        """
        if self._pin_refused or time.monotonic() < part.rest_until:
            return False
        return all(self._is_ready(run) or not run.process.is_alive() for other in self._parts for run in other.runs)

    def _tend(self, part: _Part) -> None:
        self._is_ready(part.run)
        if part.successor is not None:
            self._succeed(part, part.successor)
        elif not part.run.process.is_alive():
            self._revive(part)
        elif part.outdated and self._may_begin(part):
            part.successor = self._fork(part.name, part.target)

    def _succeed(self, part: _Part, successor: _Run) -> None:
        if not successor.process.is_alive():
            logger.error("%s could not be replaced; the present one goes on, until the next attempt", part.name)
            successor.close()
            part.successor, part.rest_until = None, time.monotonic() + _LONGEST_REST
        elif self._is_ready(successor) and time.monotonic() - successor.born > _LISTENING_SECONDS:
            part.run.process.terminate()
            self._leaving.append(part.run)
            part.run, part.successor, part.outdated = successor, None, False

    def _revive(self, part: _Part) -> None:
        """Start a part again: at once, then at growing intervals when it keeps failing.

        One that has served, or was killed, rests for a second at most: a service that is hit again and again must not
        be left without any process.
        """
        if not part.fallen:
            part.fallen, now = True, time.monotonic()
            part.failures = 0 if now - part.run.born > _LONGEST_REST else part.failures + 1
            was_killed = (part.run.process.exitcode or 0) < 0
            longest = _SHORT_REST if part.run.ready or was_killed else _LONGEST_REST
            part.rest_until = now + (min(0.5 * 2**part.failures, longest) if part.failures > 1 else 0.0)
            logger.error("%s ended with code %s; it is started again", part.name, part.run.process.exitcode)
        if self._may_begin(part):
            part.run.close()
            part.run, part.fallen = self._fork(part.name, part.target), False


def _is_gone(run: _Run) -> bool:
    if run.process.is_alive():
        return False
    run.process.join()
    run.close()
    return True
