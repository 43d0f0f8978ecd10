"""What a user is told when a command fails: one line, with advice, and never a traceback."""

import errno
import sys
from collections.abc import Mapping
from types import MappingProxyType

_ADVICE: Mapping[int, str] = MappingProxyType(
    {
        errno.ENOSPC: "free space or enlarge the volume, then try again",
        errno.EDQUOT: "free space or raise the quota, then try again",
        errno.EFBIG: "raise the limit on the size of files, then try again",
        errno.EACCES: "let this user write there, or choose another place",
        errno.EPERM: "let this user write there, or choose another place",
        errno.EROFS: "remount that file system for writing, or choose another place",
    }
)


def explain(error: BaseException) -> tuple[str, str]:
    """Return what happened and what to do next.

    Of an error that nobody foresaw only the class is told: its message may hold what must not be shown.
    """
    if _is_of_the_house(error):
        message: str = getattr(error, "message", "")
        advice: str = getattr(error, "advice", "")
        return message, advice
    if isinstance(error, OSError) and error.strerror:
        place = f"{error.filename}: " if error.filename else ""
        return f"{place}{error.strerror}", _ADVICE.get(error.errno or 0, "")
    return f"unexpected {type(error).__name__}", "run it again with --debug, and report what it prints"


def in_one_line(error: BaseException) -> str:
    """Return `what happened (what to do next)`, without line breaks."""
    message, advice = explain(error)
    return " ".join((f"{message} ({advice})" if advice else message).split())


def _is_of_the_house(error: BaseException) -> bool:
    # Importing either takes longer than --help may, and commands that speak HTTP import neither: where it is not
    # imported, it has raised nothing.
    return any(
        isinstance(error, getattr(sys.modules[module], name))
        for module, name in (("pki.errors", "SealwardError"), ("hsm.errors", "HsmError"))
        if module in sys.modules
    )
