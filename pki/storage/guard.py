"""No token and no network call happens inside a write: the guard that says so, loudly.

A write holds the database's only write lock (SQLite) or row locks (PostgreSQL). A token that takes 50 ms, or a peer
that takes 15 s, would hold every other request for as long.
"""

from contextvars import ContextVar

_inside: ContextVar[str | None] = ContextVar("inside_write", default=None)


def outside_write(what: str) -> None:
    """Raise RuntimeError if the calling thread is inside a write; `what` names the call that must not be made there."""
    holder = _inside.get()
    if holder is not None:
        raise RuntimeError(f"{what} inside {holder}: a write holds locks, so make the call before or after it")


class inside_write:  # noqa: N801 - used as a function: as a class it costs half of what a generator does
    """Mark the calling thread as inside the write named `holder` until the `with` block ends."""

    __slots__ = ("_holder", "_mark")

    def __init__(self, holder: str) -> None:
        self._holder = holder

    def __enter__(self) -> None:
        """Set the mark."""
        self._mark = _inside.set(self._holder)

    def __exit__(self, *_: object) -> None:
        """Take it away again."""
        _inside.reset(self._mark)
