"""The metrics in the text format that Prometheus reads (version 0.0.4). Base units; no label ever holds a secret."""

from collections.abc import Iterator, Mapping
from itertools import accumulate

from pki.api.counters import BUCKETS, Counters
from pki.api.figures import Figures
from pki.api.readiness import Readiness

CONTENT_TYPE = "text/plain; version=0.0.4; charset=utf-8"
_DURATION = "sealward_http_request_duration_seconds"
_HELP: Mapping[str, tuple[str, str]] = {
    "certificates_issued_total": ("counter", "Certificates issued, X.509 and SSH, revoked ones included."),
    "certificate_revocations_total": ("counter", "X.509 certificates revoked."),
    "crl_next_update_timestamp_seconds": ("gauge", "When the present CRL of an issuer ends."),
    "ca_not_after_timestamp_seconds": ("gauge", "When the certificate of an issuer ends."),
    "acme_orders_total": ("gauge", "ACME orders that are kept, by state."),
    "tokens_active": ("gauge", "Client tokens that are neither revoked nor expired."),
}


class Exposition:
    """Writes the metrics down: requests from the counters, all else from the tables."""

    def __init__(self, counters: Counters, figures: Figures, readiness: Readiness, version: str) -> None:
        self._counters = counters
        self._figures = figures
        self._readiness = readiness
        self._version = version

    def __call__(self) -> str:
        """Return the text. Raises DatabaseUnavailable."""
        return "\n".join([*self._own(), *self._from_tables(), *self._requests()]) + "\n"

    def _own(self) -> Iterator[str]:
        yield from _head("sealward_build_info", "gauge", "Always 1; the label says which version this is.")
        yield _line("sealward_build_info", {"version": self._version}, 1)
        yield from _head("sealward_ready", "gauge", "Whether a check of /readyz passes.")
        for check, is_good in self._readiness.results().items():
            yield _line("sealward_ready", {"check": check}, int(is_good))

    def _from_tables(self) -> Iterator[str]:
        for name, samples in self._figures.samples().items():
            kind, text = _HELP[name]
            yield from _head(f"sealward_{name}", kind, text)
            for sample in samples:
                yield _line(f"sealward_{name}", sample.labels, sample.value)

    def _requests(self) -> Iterator[str]:
        yield from _head(_DURATION, "histogram", "Requests to the HTTP API on this machine, by operation and status.")
        for count in self._counters.counts():
            labels = {"operation": count.action, "status": count.status_class}
            reached = list(accumulate(count.buckets))
            for bound, number in zip((*BUCKETS, "+Inf"), reached, strict=True):
                yield _line(f"{_DURATION}_bucket", {**labels, "le": str(bound)}, number)
            yield _line(f"{_DURATION}_sum", labels, count.seconds)
            yield _line(f"{_DURATION}_count", labels, reached[-1])


def _head(name: str, kind: str, text: str) -> Iterator[str]:
    yield f"# HELP {name} {text}"
    yield f"# TYPE {name} {kind}"


def _line(name: str, labels: Mapping[str, str], value: float) -> str:
    written = ",".join(f'{label}="{_escaped(text)}"' for label, text in labels.items())
    return f"{name}{{{written}}} {value:.15g}" if written else f"{name} {value:.15g}"


def _escaped(text: str) -> str:
    return text.replace("\\", "\\\\").replace('"', '\\"').replace("\n", "\\n")
