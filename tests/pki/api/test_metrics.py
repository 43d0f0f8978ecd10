"""`/metrics` and the counters behind it."""

import dataclasses
from pathlib import Path

import pytest

from pki.api.counters import Counters
from pki.core import Core
from pki.errors import Misconfigured
from tests.pki.api.gateway_client import Client
from tests.pki.api.gateway_fixtures import NewClient, anonymous, client_with, house, root, things

__all__ = ["anonymous", "client_with", "house", "root", "things"]

ACTIONS = ["kv.read", "kv.write"]


def _samples(text: str) -> dict[str, float]:
    lines = [line for line in text.splitlines() if not line.startswith("#")]
    return {name: float(value) for name, _, value in (line.rpartition(" ") for line in lines)}


def test_metrics_are_read_with_a_token_that_may(anonymous: Client, client_with: NewClient) -> None:
    """They tell much of a house, so they are not for everybody; Prometheus sends a bearer token."""
    assert anonymous.send("GET", "/metrics").status == 403
    client = client_with('path "sys/metrics" { capabilities = ["read"] }')
    bearer = dataclasses.replace(client, token=None)
    answer = bearer.send("GET", "/metrics", authorization=f"Bearer {client.token}")
    assert answer.headers["content-type"].startswith("text/plain; version=0.0.4")
    assert client.get("sys/metrics").status == 200


def test_metrics_tell_of_the_house(root: Client, house: Core) -> None:
    """Certificates, CRLs, authorities, tokens: from the tables, the same from every process."""
    house.crls.publish_due()
    samples = _samples(root.send("GET", "/metrics").body.decode())
    assert samples['sealward_ready{check="hsm"}'] == 1
    assert samples["sealward_tokens_active"] == 1
    assert {name.partition("{")[0] for name in samples} >= {
        "sealward_build_info",
        "sealward_ca_not_after_timestamp_seconds",
        "sealward_certificates_issued_total",
        "sealward_crl_next_update_timestamp_seconds",
        "sealward_tokens_active",
    }
    assert samples['sealward_ca_not_after_timestamp_seconds{issuer="root"}'] > house.clock.now().timestamp()


def test_requests_are_counted_by_operation_and_status(root: Client) -> None:
    """A histogram in seconds; what is not served at all is counted too."""
    for path in ("things/item/a", "things/item/b", "x/y"):
        root.get(path)
    samples = _samples(root.send("GET", "/metrics").body.decode())
    name = "sealward_http_request_duration_seconds"
    assert samples[f'{name}_count{{operation="things.read_item",status="4xx"}}'] == 2
    assert samples[f'{name}_count{{operation="api.read",status="4xx"}}'] == 1


def test_the_processes_of_a_machine_are_counted_together(tmp_path: Path) -> None:
    """Whichever process a scrape meets, it tells of all."""
    one, two = Counters(tmp_path, ACTIONS), Counters(tmp_path, ACTIONS)
    one.observe("kv.read", 200, 0.002)
    two.observe("kv.read", 204, 0.2)
    two.observe("kv.write", 503, 60.0)
    two.observe("unknown", 404, 0.0)
    counts = {(count.action, count.status_class): count for count in one.counts()}
    assert counts.keys() == {("kv.read", "2xx"), ("kv.write", "5xx"), ("other", "4xx")}
    assert (sum(counts["kv.read", "2xx"].buckets), round(counts["kv.read", "2xx"].seconds, 3)) == (2, 0.202)
    assert counts["kv.write", "5xx"].buckets[-1] == 1
    assert list(two.counts()) == list(one.counts())
    one.close()
    two.close()


def test_no_count_falls_when_a_process_ends(tmp_path: Path) -> None:
    """The next process takes the file over and counts on."""
    one, two = Counters(tmp_path, ACTIONS), Counters(tmp_path, ACTIONS)
    one.observe("kv.read", 200, 0.002)
    one.close()
    assert [sum(count.buckets) for count in two.counts()] == [1]
    three = Counters(tmp_path, ACTIONS)
    three.observe("kv.read", 200, 0.002)
    assert [sum(count.buckets) for count in two.counts()] == [2]
    assert len(list(tmp_path.iterdir())) == 2
    two.close()
    three.close()


def test_counters_of_another_version_begin_anew(tmp_path: Path) -> None:
    """A file whose columns mean something else is emptied."""
    old = Counters(tmp_path, ACTIONS)
    old.observe("kv.read", 200, 0.002)
    old.close()
    new = Counters(tmp_path, [*ACTIONS, "kv.list"])
    assert list(new.counts()) == []
    new.close()


def test_counters_that_cannot_be_kept_are_the_operator_s_to_mend(tmp_path: Path) -> None:
    """The message names the folder."""
    (tmp_path / "file").touch()
    with pytest.raises(Misconfigured, match="counters cannot be kept"):
        Counters(tmp_path / "file", ACTIONS)
