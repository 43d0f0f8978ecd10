"""No token and no network call happens inside a write: the guard that says so, loudly.

A write holds the database's only write lock (SQLite) or row locks (PostgreSQL). A token that takes 50 ms, or a peer
that takes 15 s, would hold every other request for as long.
"""

from collections.abc import Iterator
from contextlib import contextmanager
from contextvars import ContextVar

_inside: ContextVar[str | None] = ContextVar("inside_write", default=None)


def outside_write(what: str) -> None:
    """Raise RuntimeError if the calling thread is inside a write; `what` names the call that must not be made there."""
    holder = _inside.get()
    if holder is not None:
        raise RuntimeError(f"{what} inside {holder}: a write holds locks, so make the call before or after it")


@contextmanager
def inside_write(holder: str) -> Iterator[None]:
    """Mark the calling thread as inside the write named `holder` until the block ends."""
    mark = _inside.set(holder)
    try:
        yield
    finally:
        _inside.reset(mark)
