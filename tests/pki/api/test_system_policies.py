"""`sys/policies/acl`, `sys/policy` and `sys/capabilities`."""

import pytest

from pki.core import Core
from tests.pki.api.gateway_client import Client
from tests.pki.api.gateway_fixtures import NewClient, anonymous, client_with, events, house, root, things

__all__ = ["anonymous", "client_with", "house", "root", "things"]

TEXT = 'path "things/*" { capabilities = ["read"] }'


def test_a_policy_is_written_read_listed_and_deleted(root: Client) -> None:
    """204 for changes, and the text comes back as it was sent."""
    assert root.ask("PUT", "sys/policies/acl/reader", {"policy": TEXT}).status == 204
    assert root.get("sys/policies/acl/reader").data == {"name": "reader", "policy": TEXT, "version": 1}
    assert root.list("sys/policies/acl").data["keys"] == ["default", "reader", "root"]
    assert root.delete("sys/policies/acl/reader").status == 204
    assert root.get("sys/policies/acl/reader").status == 404


def test_the_older_spelling_is_the_same_policy(root: Client) -> None:
    """`rules` instead of `policy`, and the keys twice."""
    assert root.post("sys/policy/reader", {"rules": TEXT}).status == 204
    document = root.get("sys/policy/reader").document
    assert document["rules"] == document["data"]["rules"] == TEXT
    listed = root.get("sys/policy").document
    assert listed["policies"] == listed["keys"] == listed["data"]["policies"] == ["default", "reader", "root"]
    assert root.list("sys/policy").data["keys"] == listed["keys"]
    assert root.delete("sys/policy/reader").status == 204


@pytest.mark.parametrize(
    ("name", "body"),
    [
        ("bad", {"policy": "path {"}),
        ("bad", {}),
        ("root", {"policy": TEXT}),
        ("Reader", {"policy": TEXT}),
        (" root", {"policy": TEXT}),
    ],
)
def test_what_is_no_policy_is_refused(root: Client, name: str, body: object) -> None:
    """P2: neither a text that is not understood, nor a name that is, or looks like, root."""
    assert root.post(f"sys/policies/acl/{name}", body).status == 400


def test_root_and_default_stay(root: Client) -> None:
    """Neither can be deleted."""
    assert [root.delete(f"sys/policies/acl/{name}").status for name in ("root", "default")] == [400, 400]


def test_a_policy_is_replaced_only_over_the_version_named(root: Client) -> None:
    """Two administrators do not undo each other's work unknowingly."""
    assert root.post("sys/policies/acl/reader", {"policy": TEXT, "cas": 0}).status == 204
    answer = root.post("sys/policies/acl/reader", {"policy": TEXT, "cas": 0})
    assert (answer.status, answer.document["code"]) == (400, "conflict")


def test_a_change_of_policy_is_recorded(root: Client, house: Core) -> None:
    """In the transaction of the change, by whoever made it."""
    root.post("sys/policies/acl/reader", {"policy": TEXT})
    event = events(house, action="system.write_policy")[0]
    assert (event.object, event.detail["policy"], event.outcome) == ("sys/policies/acl/reader", "reader", "success")


def test_creating_a_policy_and_changing_one_are_two_capabilities(client_with: NewClient, root: Client) -> None:
    """CREATE where there is none yet."""
    client = client_with('path "sys/policies/acl/*" { capabilities = ["create"] }')
    assert client.post("sys/policies/acl/new", {"policy": TEXT}).status == 204
    assert client.post("sys/policies/acl/new", {"policy": TEXT}).status == 403
    assert root.get("sys/policies/acl/new").data["version"] == 1


def test_capabilities_of_oneself(client_with: NewClient, root: Client) -> None:
    """One path also under `capabilities`; several by path; deny and root by name; beside `data` too."""
    client = client_with(TEXT + '\npath "sys/capabilities-self" { capabilities = ["update"] }')
    document = client.post("sys/capabilities-self", {"paths": ["things/a"]}).document
    assert document["capabilities"] == document["things/a"] == document["data"]["capabilities"] == ["read"]
    assert client.post("sys/capabilities-self", {"paths": ["things/a", "x"]}).data == {
        "things/a": ["read"],
        "x": ["deny"],
    }
    assert root.post("sys/capabilities-self", {"path": "x"}).data["capabilities"] == ["root"]
    assert root.post("sys/capabilities-self", {}).status == 400


def test_capabilities_of_another_token(client_with: NewClient, root: Client, house: Core) -> None:
    """By the token or by its accessor; a token that is none is not found."""
    client = client_with(TEXT)
    accessor = house.tokens.lookup_token(client.token or "").accessor
    by_token = root.post("sys/capabilities", {"token": client.token, "paths": ["things/a"]})
    by_accessor = root.post("sys/capabilities-accessor", {"accessor": accessor, "path": "things/a"})
    assert by_token.data == by_accessor.data == {"capabilities": ["read"], "things/a": ["read"]}
    assert root.post("sys/capabilities", {"token": "sw.none", "path": "x"}).status == 404
    assert [root.post(f"sys/capabilities{name}", {"path": "x"}).status for name in ("", "-accessor")] == [400, 400]
