"""A process whose PKCS#11 module hangs ends itself: nothing cancels a call inside, but the supervisor replaces us."""

import logging
import os
import threading
import time

from hsm.module import stuck_module

logger = logging.getLogger("sealward")

_PAUSE = 0.5


def end_when_stuck(patience: float) -> None:
    """Watch the modules of this process from now on, those that are loaded later included.

    A call hangs when a restart of its module waited for it in vain, or when it has taken `patience` seconds.
    """
    threading.Thread(target=_watch, args=(patience,), name="watchdog", daemon=True).start()


def _watch(patience: float) -> None:
    while (stuck := stuck_module(patience)) is None:
        time.sleep(_PAUSE)
    logger.error("a call hangs inside %s; this process ends, and another takes its place", stuck.name)
    time.sleep(_PAUSE)  # for the answers that are on their way
    os._exit(1)
