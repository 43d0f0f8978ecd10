"""The WSGI application of the HTTP API: `/v1/...`, and beside it `/healthz`, `/readyz` and `/metrics`."""

from collections.abc import Callable, Iterable, Mapping
from http import HTTPStatus
from importlib.metadata import version
from typing import Any

from pki.api.answers import Answer
from pki.api.builtin import builtin
from pki.api.counters import Counters
from pki.api.errors import v1_refusal
from pki.api.figures import Figures
from pki.api.front import Environ, WsgiApplication
from pki.api.health import HEALTH_PATHS, Health
from pki.api.metrics import Exposition
from pki.api.pipeline import Pipeline
from pki.api.readiness import Readiness
from pki.api.request import PREFIX
from pki.api.system import Rooms, System
from pki.audit.events import Events
from pki.clock import Clock
from pki.core import Core, https_base_url, read_cluster_id
from pki.ids import Ids
from pki.operations.declare import Engine, Verb

__all__ = ["create_gateway", "serves", "v1_refusal"]

METRICS_PATH = "/metrics"
API_VERSION = "1.16.0+sealward."
"""What clients of the Vault HTTP API take features from, before our own version; some accept semantic versions only."""
_OWN_PATHS = frozenset({METRICS_PATH, *HEALTH_PATHS})
_REASONS = {status.value: f"{status.value} {status.phrase}" for status in HTTPStatus}
_COMMON = (("Cache-Control", "no-store"), ("X-Content-Type-Options", "nosniff"))
_HSTS = ("Strict-Transport-Security", "max-age=31536000")
"""RFC 6797; for this host alone, since what else is below its name is not ours to bind."""


def serves(path: str) -> bool:
    """Tell whether a decoded path is the gateway's, and no other door's."""
    return path.startswith(PREFIX) or path in _OWN_PATHS or path == PREFIX[:-1]


class Gateway:
    """Hands requests to the pipeline, counts them, and sends the answers."""

    def __init__(self, pipeline: Pipeline, health: Health, counters: Counters, clock: Clock, ids: Ids) -> None:
        self._pipeline = pipeline
        self._health = health
        self._counters = counters
        self._clock = clock
        self._ids = ids

    def __call__(self, environ: Environ, start_response: Callable[..., Any]) -> Iterable[bytes]:
        """Answer one request (PEP 3333)."""
        begun = self._clock.monotonic()
        path: str = environ["PATH_INFO"]
        if path in HEALTH_PATHS:
            answer = self._health.answer(path, environ["REQUEST_METHOD"], environ.get("QUERY_STRING", ""))
        else:
            if path == METRICS_PATH:
                environ = {**environ, "PATH_INFO": f"{PREFIX}sys/metrics"}
            answer = self._pipeline.handle(environ, self._ids.new())
            self._counters.observe(answer.action, answer.status, self._clock.monotonic() - begun)
        start_response(_REASONS.get(answer.status) or f"{answer.status} ", _headers(answer, environ))
        return [b"" if environ["REQUEST_METHOD"] == "HEAD" else answer.body]


def _headers(answer: Answer, environ: Environ) -> list[tuple[str, str]]:
    headers = [*_COMMON]
    if answer.status != HTTPStatus.NO_CONTENT:  # RFC 9110 8.6
        headers += [("Content-Type", answer.content_type), ("Content-Length", str(len(answer.body)))]
    if answer.retry_after is not None:
        headers.append(("Retry-After", str(answer.retry_after)))
    if environ.get("wsgi.url_scheme") == "https":
        headers.append(_HSTS)
    return headers


def actions(*engines: type[Engine]) -> list[str]:
    """Return the names under which requests are counted."""
    named = [f"{engine.type}.{item.name}" for engine in engines for item in engine.operations()]
    return [*named, *(f"api.{verb}" for verb in (*Verb, "help", "refuse"))]


def create_gateway(core: Core, besides: Mapping[str, Engine] | None = None) -> WsgiApplication:
    """Return the WSGI application over `core`, with the engines that there are, that of `sys/`, and those `besides`.

    Raises:
        Misconfigured: the counters' folder cannot be written to.
        DatabaseUnavailable: the installation's id cannot be read.
    """
    figures = Figures(core.database, core.clock)
    readiness = Readiness(
        database=core.database,
        hsm=core.hsm,
        keyring=core.keyring,
        trail=core.trail,
        figures=figures,
        clock=core.clock,
    )
    engines = {**builtin(core), **(besides or {})}
    counters = Counters(core.config.server.tls_directory / "counters", actions(*map(type, engines.values()), System))
    own_version = version("sealward")
    exposition = Exposition(counters, figures, readiness, own_version)
    rooms = Rooms(
        base_url=https_base_url(core.config),
        cluster_id=read_cluster_id(core.database),
        version=API_VERSION + own_version,
        clock=core.clock,
        database=core.database,
        mounts=core.mounts,
        tokens=core.tokens,
        policies=core.policies,
        events=Events(core.database),
        readiness=readiness,
        engines=engines,
        exposition=exposition,
    )
    engines[System.type] = System(rooms)
    pipeline = Pipeline(
        database=core.database,
        trail=core.trail,
        mounts=core.mounts,
        tokens=core.tokens,
        policies=core.policies,
        engines=engines,
    )
    return Gateway(pipeline, Health(readiness), counters, core.clock, core.ids)
