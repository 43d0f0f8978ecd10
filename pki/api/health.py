"""`/healthz` and `/readyz`: whether the process lives, and whether it can do its work. Open to all, and terse."""

from http import HTTPStatus

from pki.api.answers import Answer
from pki.api.readiness import Readiness

LIVE_PATH, READY_PATH = "/healthz", "/readyz"
HEALTH_PATHS = frozenset({LIVE_PATH, READY_PATH})
_TEXT = "text/plain; charset=utf-8"


class Health:
    """Answers both; the reason of a failure stands in the service's log alone."""

    def __init__(self, readiness: Readiness) -> None:
        self._readiness = readiness

    def answer(self, path: str, method: str, query: str) -> Answer:
        """Answer for one of `HEALTH_PATHS`; with `?verbose`, readiness is told check by check."""
        if method not in {"GET", "HEAD"}:
            return Answer(HTTPStatus.METHOD_NOT_ALLOWED, b"use GET or HEAD\n", _TEXT)
        if path == LIVE_PATH:
            return Answer(HTTPStatus.OK, b"ok\n", _TEXT)
        results = self._readiness.results()
        is_ready = all(results.values())
        lines = [f"{name}: {'ok' if is_good else 'failed'}" for name, is_good in results.items()]
        text = "\n".join([*(lines if "verbose" in query else ()), "ready" if is_ready else "not ready"])
        return Answer(HTTPStatus.OK if is_ready else HTTPStatus.SERVICE_UNAVAILABLE, f"{text}\n".encode(), _TEXT)
