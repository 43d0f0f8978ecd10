"""`sys/log/events`, which `sealward audit` reads, and `sys/audit`."""

from datetime import timedelta

import pytest

from tests.clocks import FrozenClock
from tests.pki.api.gateway_client import Client
from tests.pki.api.gateway_fixtures import NewClient, anonymous, client_with, house, root, things

__all__ = ["anonymous", "client_with", "house", "root", "things"]


def _paths(client: Client, query: str) -> list[str]:
    return [event["object"] for event in client.get("sys/log/events", query).data["events"]]


@pytest.fixture
def busy(root: Client, house_clock: FrozenClock) -> Client:
    """Give a client after four requests, a minute apart."""
    for path in ("things/item/a", "things/item/b", "x/y", "things/item/c"):
        root.get(path)
        house_clock.advance(timedelta(minutes=1))
    return root


def test_events_are_found_by_what_is_asked_for(busy: Client) -> None:
    """Actor and object by how they begin, the rest exactly; the newest last."""
    assert _paths(busy, "object=things/item/") == ["things/item/a", "things/item/b", "things/item/c"]
    assert _paths(busy, "outcome=refused") == ["x/y"]
    assert _paths(busy, "action=things.read_item&limit=2") == ["things/item/b", "things/item/c"]
    assert _paths(busy, "actor=nobody") == []
    assert _paths(busy, "object=Things") == []
    assert set(_paths(busy, "actor=root&action=things.read_item")) == {
        "things/item/a",
        "things/item/b",
        "things/item/c",
    }


def test_events_are_found_by_time(busy: Client, house_clock: FrozenClock) -> None:
    """Since a moment, or for how long."""
    moment = (house_clock.now() - timedelta(minutes=2)).isoformat().replace("+00:00", "Z")
    assert _paths(busy, f"since={moment}&outcome=success&object=things") == ["things/item/c"]
    assert _paths(busy, "since=3m&object=things") == ["things/item/b", "things/item/c"]


def test_reading_goes_on_after_an_event(busy: Client) -> None:
    """`tail` asks for what came after the last one it has seen."""
    first = busy.get("sys/log/events", "object=things/item/a").data["events"][0]
    assert _paths(busy, f"after={first['id']}&object=things&limit=1") == ["things/item/b"]
    assert busy.get("sys/log/events", "after=none").status == 404


def test_an_event_tells_all_that_is_known(busy: Client) -> None:
    """Who, what, how it ended, and its place in the log once it has one."""
    event = busy.get("sys/log/events", "object=things/item/a").data["events"][0]
    assert event.keys() == {"id", "at", "actor", "action", "object", "outcome", "request_id", "detail", "leaf_index"}
    listed = busy.list("sys/log/events").data
    assert listed["key_info"][event["id"]] == event


@pytest.mark.parametrize(
    "query", ["limit=0", "limit=1001", "limit=x", "since=soon", "since=2026-99-99", "since=9999999999h", "color=red"]
)
def test_what_cannot_be_asked_is_refused(root: Client, query: str) -> None:
    """A filter that is not understood would show too much or too little."""
    assert root.get("sys/log/events", query).status == 400


def test_the_log_is_read_by_who_may(client_with: NewClient, anonymous: Client) -> None:
    """A policy gives it, like any path."""
    assert anonymous.get("sys/log/events").status == 403
    assert client_with('path "sys/log/events" { capabilities = ["read"] }').get("sys/log/events").status == 200


def test_audit_devices_are_not_made_over_the_api(root: Client) -> None:
    """S4: no API makes the server write a file of the caller's choosing."""
    assert root.get("sys/audit").data == {}
    answers = [root.ask("PUT", "sys/audit/file", {"type": "file"}), root.delete("sys/audit/file")]
    assert [(answer.status, answer.document["code"]) for answer in answers] == [(400, "rejected")] * 2
