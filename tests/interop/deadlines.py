"""Waiting for what happens in another process: asked again and again, up to a deadline."""

import time
from collections.abc import Callable
from typing import TypeVar

_PAUSE_SECONDS = 0.05
_Value = TypeVar("_Value")


def eventually(ask: Callable[[], _Value | None], seconds: float, otherwise: Callable[[], str]) -> _Value:
    """Return the first answer that is not None.

    Raises:
        AssertionError: there was none within `seconds`; with the text of `otherwise`.
    """
    deadline = time.monotonic() + seconds
    while (answer := ask()) is None:
        if time.monotonic() > deadline:
            raise AssertionError(f"not within {seconds} s: {otherwise()}")
        time.sleep(_PAUSE_SECONDS)
    return answer
