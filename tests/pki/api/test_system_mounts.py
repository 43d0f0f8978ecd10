"""`sys/mounts`, `sys/auth` and `sys/internal/ui/mounts`."""

import dataclasses
from datetime import timedelta

import pytest

from pki.core import Core
from pki.identity.tokens import NewToken
from tests.pki.api.gateway_client import Client, Things
from tests.pki.api.gateway_fixtures import NewClient, anonymous, client_with, events, house, root, things

__all__ = ["anonymous", "client_with", "house", "root", "things"]

AS_BAO_SENDS_IT = {
    "type": "things",
    "description": "mine",
    "config": {"options": None, "default_lease_ttl": "0s", "max_lease_ttl": "0s", "force_no_cache": False},
    "local": False,
    "seal_wrap": False,
    "external_entropy_access": False,
    "options": None,
}


def test_mounts_are_listed_in_both_places(root: Client) -> None:
    """The keys stand in `data` and beside it; sys/ and auth/token/ are always there."""
    document = root.get("sys/mounts").document
    assert document["sys/"]["type"] == "system"
    assert document["data"]["things/"] == document["things/"]
    assert document["things/"].keys() >= {"accessor", "config", "description", "options", "type", "uuid", "local"}
    assert "token/" in root.get("sys/auth").data


def test_a_mount_is_added_read_tuned_and_removed(root: Client) -> None:
    """204 each; what is added serves at once, and what is removed does not."""
    assert root.post("sys/mounts/team/mine", AS_BAO_SENDS_IT).status == 204
    assert root.get("sys/mounts/team/mine").data["description"] == "mine"
    assert root.post("team/mine/echo").status == 200
    assert root.post("sys/mounts/team/mine/tune", {"default_lease_ttl": "30m", "description": "ours"}).status == 204
    tuning = root.get("sys/mounts/team/mine/tune").document
    assert (tuning["default_lease_ttl"], tuning["data"]["description"]) == (1800, "ours")
    assert root.delete("sys/mounts/team/mine").status == 204
    assert root.post("team/mine/echo").status == 404
    assert root.delete("sys/mounts/team/mine").status == 204


def test_changes_of_mounts_are_recorded_with_what_changed(root: Client, house: Core) -> None:
    """The event commits with the change."""
    root.post("sys/mounts/more", {"type": "things"})
    event = events(house, action="system.add_mount")[0]
    assert (event.object, event.detail["mount"], event.detail["type"]) == ("sys/mounts/more", "more/", "things")


@pytest.mark.parametrize(
    ("path", "body", "text"),
    [
        ("more", {"type": "nosuch"}, "there is no secrets engine of type 'nosuch'"),
        ("more", {}, "which type?"),
        ("more", {"type": "system"}, "there is no secrets engine of type 'system'"),
        ("things", {"type": "things"}, "path is already in use at things/"),
        ("things/below", {"type": "things"}, "path is already in use at things/"),
        ("More", {"type": "things"}, "'More/' is no path for a mount"),
        ("sys/more", {"type": "things"}, "the path sys/more/ is reserved"),
        (
            "more",
            {"type": "things", "options": {"color": "red"}},
            "there is no option 'color' for a mount of this type",
        ),
        (
            "more",
            {"type": "kv-v2", "config": {"max_lease_ttl": "5m"}},
            "max_lease_ttl has no effect on a mount of type kv",
        ),
        ("more", {"type": "things", "seal_wrap": True}, "seal_wrap is not supported for mounts"),
        ("more", {"type": "things", "config": {"force_no_cache": True}}, "force_no_cache is not supported for mounts"),
    ],
)
def test_what_cannot_be_mounted_is_refused_by_name(root: Client, path: str, body: object, text: str) -> None:
    """400, and the words say what is wrong."""
    answer = root.post(f"sys/mounts/{path}", body)
    assert (answer.status, answer.errors) == (400, [text])


def test_what_is_always_there_stays(root: Client) -> None:
    """Neither sys/ nor the tokens can be unmounted or tuned."""
    answers = [root.delete("sys/mounts/sys"), root.delete("sys/auth/token"), root.post("sys/auth/token/tune", {})]
    assert [answer.status for answer in answers] == [400] * 3


def test_what_is_always_there_is_not_mounted_a_second_time(root: Client) -> None:
    """Tokens are made in one place, and no secrets engine makes any."""
    answers = [root.post("sys/auth/more", {"type": "token"}), root.post("sys/mounts/more", {"type": "token"})]
    assert [(answer.status, answer.document["code"]) for answer in answers] == [(400, "rejected")] * 2
    assert root.post("sys/mounts/more", {"type": "approle"}).status == 400


def test_auth_methods_need_sudo(client_with: NewClient) -> None:
    """Whoever can mount an auth method can make himself anybody."""
    client = client_with('path "sys/auth/*" { capabilities = ["create", "update", "delete"] }')
    assert [client.post("sys/auth/x", {"type": "approle"}).status, client.delete("sys/auth/x").status] == [403, 403]


def test_the_preflight_finds_the_mount_of_a_path(root: Client) -> None:
    """`kv` commands ask this before anything else, and read type, path and options."""
    data = root.get("sys/internal/ui/mounts/things/item/a").data
    assert (data["path"], data["type"], data["options"]) == ("things/", "things", None)
    assert root.get("sys/internal/ui/mounts/things").data["path"] == "things/"
    assert "things/" in root.get("sys/internal/ui/mounts").data["secret"]


def test_the_preflight_shows_what_the_token_reaches_and_nothing_else(client_with: NewClient, anonymous: Client) -> None:
    """A mount is shown to whom some rule gives something below it; a stranger sees none."""
    reader = client_with('path "things/item/+/deep/*" { capabilities = ["read"] }')
    other = client_with('path "thing/*" { capabilities = ["read"] }\npath "things/*" { capabilities = ["deny"] }', "b")
    assert reader.get("sys/internal/ui/mounts").data == {
        "auth": {},
        "secret": reader.get("sys/internal/ui/mounts").data["secret"],
    }
    assert reader.get("sys/internal/ui/mounts/things/x").status == 200
    denied = other.get("sys/internal/ui/mounts/things/x")
    assert denied.status == 403
    assert denied.errors[0].startswith("preflight capability check returned 403, please ensure client's policies grant")
    assert (anonymous.get("sys/internal/ui/mounts").data, anonymous.get("sys/internal/ui/mounts/things").status) == (
        {"auth": {}, "secret": {}},
        403,
    )


def test_the_preflight_counts_no_use_of_a_token(house: Core, anonymous: Client, things: Things) -> None:
    """A token for one request is not spent on finding out where to send it."""
    new = NewToken("once", (), timedelta(hours=1), "auth/token/create", uses=1)
    made = house.database.write(lambda tx: house.tokens.add(tx, new))
    client = dataclasses.replace(anonymous, token=made.token)
    assert things.kept == {}
    assert [client.get("sys/internal/ui/mounts").status for _ in range(3)] == [200] * 3
    assert client.post("sys/capabilities-self", {"path": "x"}).status == 200
    assert client.post("sys/capabilities-self", {"path": "x"}).status == 403
