"""The wire rules that every client of the Vault HTTP API shares: one test a rule, named after it."""

import dataclasses
import re

import pytest

from pki.core import Core
from tests.pki.api.gateway_client import ENVELOPE, Client, Things
from tests.pki.api.gateway_fixtures import NewClient, anonymous, client_with, events, house, root, things

__all__ = ["anonymous", "client_with", "house", "root", "things"]

DENIED = ["permission denied"]


@pytest.mark.parametrize(
    "content_type", ["", "application/json", "application/x-www-form-urlencoded", "application/merge-patch+json", "x"]
)
def test_the_body_is_json_whatever_its_type_says(root: Client, content_type: str) -> None:
    """Go sends no Content-Type at all, curl that of a form: the body is JSON all the same."""
    headers = {"content_type": content_type} if content_type else {}
    answer = root.post("things/echo", {"value": "a"}, **headers)
    assert answer.data["body"]["value"] == "a"


@pytest.mark.parametrize("body", [b"", b"null", b" null\n", b"{}"])
def test_an_empty_body_and_null_are_the_empty_object(root: Client, body: bytes) -> None:
    """`write -f` sends the four octets null."""
    answer = root.post("things/echo", body)
    assert (answer.status, answer.data["body"]["value"]) == (200, "")


def test_post_and_put_are_one_verb(root: Client) -> None:
    """Some clients write with the one, some with the other."""
    answers = [root.ask(method, "things/echo", {"value": "x"}) for method in ("POST", "PUT")]
    assert [answer.data["body"]["value"] for answer in answers] == ["x", "x"]


@pytest.mark.parametrize("query", ["list=true", "list=True", "list=TRUE", "list=1"])
def test_a_list_is_asked_for_by_verb_or_by_query(root: Client, query: str) -> None:
    """Both spellings are in use, and the second in any case."""
    root.post("things/item/a", {})
    answers = [root.list("things/item"), root.get("things/item", query), root.get("things/item/", query)]
    assert [answer.data["keys"] for answer in answers] == [["a"]] * 3


def test_list_false_is_a_read_and_nonsense_is_refused(root: Client) -> None:
    """A flag is true or false."""
    root.post("things/item/a", {"value": "v"})
    assert root.get("things/item/a", "list=false").data["value"] == "v"
    assert root.get("things/item/a", "list=perhaps").status == 400


def test_head_is_a_read_without_the_body(root: Client) -> None:
    """RFC 9110 9.3.2: the same headers, no content."""
    root.post("things/item/a", {"value": "v"})
    read, head = root.get("things/item/a"), root.ask("HEAD", "things/item/a")
    assert (head.status, head.body) == (200, b"")
    assert head.headers.keys() == read.headers.keys()
    assert root.ask("HEAD", "things/item/none").status == 404


def test_help_tells_of_a_path_and_of_a_mount(root: Client) -> None:
    """?help=1 is answered from the declarations, for a path and for the mount itself."""
    answer = root.get("things/item/a", "help=1")
    assert {"help", "see_also", "openapi"} <= answer.document.keys()
    assert "Keep a thing." in answer.document["help"]
    assert "ttl (Span), optional" in answer.document["help"]
    assert "read    things/public: Tell anybody who asks" in root.get("things", "help=1").document["help"]
    assert root.get("nothing/here", "help=1").status == 404


def test_help_needs_a_token(anonymous: Client) -> None:
    """What is mounted is not told to strangers."""
    assert anonymous.get("things/item/a", "help=1").status == 403


def test_the_token_comes_in_either_header(root: Client, anonymous: Client) -> None:
    """X-Vault-Token, or Authorization: Bearer (RFC 6750 2.1), in any case."""
    token = root.token or ""
    sent = [{"x_vault_token": token}, {"authorization": f"Bearer {token}"}, {"authorization": f"bearer {token}"}]
    sent.append({"x_vault_token": token, "authorization": f"Bearer {token}"})
    assert [anonymous.post("things/echo", **headers).status for headers in sent] == [200] * 4


def test_two_different_tokens_are_refused(root: Client) -> None:
    """Which of them acts would be a guess."""
    answer = root.post("things/echo", authorization="Bearer another")
    assert (answer.status, answer.document["code"]) == (400, "malformed")


def test_x_vault_request_is_optional(root: Client) -> None:
    """Go and hvac send it always, node-vault never."""
    assert [root.post("things/echo", **more).status for more in ({}, {"x_vault_request": "true"})] == [200, 200]


@pytest.mark.parametrize(("namespace", "status"), [("", 200), ("root", 200), ("root/", 200), ("team/", 400)])
def test_only_the_root_namespace_is_there(root: Client, namespace: str, status: int) -> None:
    """Another namespace is refused clearly, never ignored."""
    answer = root.post("things/echo", x_vault_namespace=namespace)
    assert answer.status == status
    assert status == 200 or "namespaces are not supported" in answer.errors[0]


@pytest.mark.parametrize(("ttl", "status"), [("", 200), ("0", 200), ("60", 400), ("1m0s", 400)])
def test_response_wrapping_is_refused_by_name(root: Client, ttl: str, status: int) -> None:
    """Who asks for a wrapped answer must not get it in the clear."""
    root.post("things/item/a", {"value": "secret"})
    answer = root.get("things/item/a", x_vault_wrap_ttl=ttl)
    assert answer.status == status
    assert status == 200 or ("response wrapping" in answer.errors[0] and b"secret" not in answer.body)


def test_unknown_members_are_ignored(root: Client) -> None:
    """The command line sends more members than any server knows."""
    answer = root.post("things/echo", {"value": "v", "of_tomorrow": {"a": [1]}})
    assert answer.data["body"]["value"] == "v"


@pytest.mark.parametrize("ttl", ["1h", "60m0s", "3600s", "3600", 3600])
def test_spans_of_time_come_in_all_spellings(root: Client, ttl: object) -> None:
    """Go style, digits, text and number; answers are whole seconds."""
    assert root.post("things/echo", {"ttl": ttl}).data["body"]["ttl"] == 3600


def test_lists_and_pairs_come_in_all_spellings(root: Client) -> None:
    """A list may be one text with commas; texts may come as JSON in a text, and numbers as texts."""
    sent = [
        {"names": "a, b", "notes": '{"k":"v"}', "count": "5"},
        {"names": ["a", "b"], "notes": {"k": "v"}, "count": 5},
    ]
    bodies = [root.post("things/echo", body).data["body"] for body in sent]
    assert bodies[0] == bodies[1]
    assert (bodies[0]["names"], bodies[0]["notes"], bodies[0]["count"]) == (["a", "b"], {"k": "v"}, 5)


def test_pairs_take_numbers_as_texts(root: Client) -> None:
    """A client sends {"version": 2} as the options of a mount."""
    assert root.post("things/echo", {"notes": {"version": 2}}).data["body"]["notes"] == {"version": "2"}


def test_null_is_a_member_that_was_not_sent(root: Client) -> None:
    """A client sends null for all that its caller left open, at every depth; where null says something, it stays."""
    body = {"value": None, "count": None, "is_good": None, "ttl": None, "names": None, "anything": {"a": None}}
    echoed = root.post("things/echo", body).data["body"]
    assert (echoed["value"], echoed["count"], echoed["anything"]) == ("", 0, {"a": None})
    mount = {"type": "things", "description": None, "config": {"force_no_cache": None}, "options": None, "local": None}
    assert root.post("sys/mounts/more", mount).status == 204
    assert root.post("sys/mounts/other", {**mount, "config": None}).status == 204


def test_an_empty_text_is_false_or_zero(root: Client) -> None:
    """For a truth value or a number, as hvac sends it in roles of SSH; a text that says something else is refused."""
    echoed = root.post("things/echo", {"is_good": "", "count": ""}).data["body"]
    assert (echoed["is_good"], echoed["count"]) == (False, 0)
    assert root.post("things/echo", {"is_good": "perhaps"}).status == 400
    assert root.post("things/echo", {"count": "5x"}).status == 400


def test_the_envelope_has_all_its_members(root: Client) -> None:
    """All eight are there, null where there is nothing."""
    root.post("things/item/a", {"value": "v"})
    document = root.get("things/item/a").document
    assert document.keys() == ENVELOPE
    assert (document["lease_id"], document["renewable"], document["lease_duration"]) == ("", False, 0)
    assert (document["wrap_info"], document["warnings"], document["auth"]) == (None, None, None)


def test_some_answers_repeat_the_data_beside_the_envelope(anonymous: Client) -> None:
    """Clients read either place."""
    document = anonymous.get("things/public").document
    assert document["actor"] == document["data"]["actor"] == "anonymous"
    assert document.keys() >= ENVELOPE


def test_a_login_answers_auth(anonymous: Client) -> None:
    """`auth` holds the token, its span in whole seconds, and who it is for."""
    auth = anonymous.post("things/login", {"value": "alice"}).document["auth"]
    assert (auth["client_token"], auth["lease_duration"], auth["renewable"]) == ("sw.x", 3600, True)
    assert auth["token_policies"] == auth["policies"] == ["default"]
    assert auth["metadata"] == {"name": "alice"}
    assert auth["token_type"] == "service"  # noqa: S105 - a word


def test_done_with_nothing_to_say_is_204(root: Client) -> None:
    """No content, and no content type either."""
    answers = [root.post("things/item/a", {}), root.delete("things/item/a")]
    assert [(answer.status, answer.body) for answer in answers] == [(204, b"")] * 2
    assert "content-type" not in answers[0].headers


def test_warnings_are_200_with_an_envelope(root: Client) -> None:
    """PATCH reaches its own operation, and a warning alone is worth an envelope."""
    answer = root.ask("PATCH", "things/item/a", {"value": "v"}, content_type="application/merge-patch+json")
    assert (answer.status, answer.document["warnings"]) == (200, ["a was changed to v"])


def test_what_is_under_way_is_202(root: Client) -> None:
    """Tidying, for one."""
    assert root.post("things/tidy").status == 202


def test_octets_keep_their_content_type(root: Client) -> None:
    """A CA certificate is no JSON."""
    answer = root.get("things/pem")
    assert (answer.body, answer.headers["content-type"]) == (b"-----BEGIN", "application/x-pem-file")


def test_an_empty_list_is_404_without_errors(root: Client) -> None:
    """Clients depend on it: not an empty array."""
    answer = root.list("things/item")
    assert (answer.status, answer.errors) == (404, [])


def test_what_is_not_there_is_404_without_errors(root: Client) -> None:
    """An empty list of errors is legal, and what clients take for absence."""
    answer = root.get("things/item/none")
    assert (answer.status, answer.errors) == (404, [])


def test_what_is_deleted_is_404_with_data(root: Client) -> None:
    """Go reads the data of a deleted version out of a 404."""
    answer = root.get("things/absent")
    assert (answer.status, answer.data) == (404, {"deleted": True})
    assert answer.document.keys() == ENVELOPE


def test_errors_have_exactly_the_content_type_of_json(root: Client, anonymous: Client) -> None:
    """One client compares it: with a character set behind it, it loses the messages."""
    answers = [
        anonymous.get("things/item/a"),
        root.get("no/mount"),
        root.post("things/echo", b"{"),
        root.list("things/item"),
    ]
    assert {answer.headers["content-type"] for answer in answers} == {"application/json"}
    assert all(isinstance(answer.errors, list) for answer in answers)


def test_no_mount_is_404_in_known_words(root: Client) -> None:
    """Clients and people know the text."""
    answer = root.get("x/y")
    assert (answer.status, answer.errors) == (404, ['no handler for route "x/y". route entry not found.'])


def test_an_unserved_path_of_a_mount_is_404(root: Client) -> None:
    """The engine has no such path."""
    answer = root.get("things/nowhere")
    assert (answer.status, answer.errors) == (404, ["unsupported path"])


def test_no_token_and_a_bad_one_are_403_and_never_401(anonymous: Client) -> None:
    """Whatever is asked for, of a mount or of none, in any method."""
    bad = dataclasses.replace(anonymous, token="sw.bad")  # noqa: S106 - it is none
    paths = ["things/item/a", "things/nowhere", "x/y", "sys/mounts", "sys/nothing"]
    answers = [client.ask(method, path) for client in (anonymous, bad) for path in paths for method in ("GET", "POST")]
    assert {(answer.status, *answer.errors, answer.document["code"]) for answer in answers} == {
        (403, *DENIED, "unauthenticated")
    }


def test_what_no_policy_allows_is_403(client_with: NewClient) -> None:
    """Also where nothing is mounted: who may not know hears the same."""
    client = client_with('path "things/item/a" { capabilities = ["read"] }')
    answers = [
        client.post("things/item/a", {}),
        client.get("things/item/b"),
        client.get("x/y"),
        client.get("sys/mounts"),
    ]
    assert {(answer.status, *answer.errors, answer.document["code"]) for answer in answers} == {
        (403, *DENIED, "denied")
    }
    assert answers[1].document["advice"] == "a policy must give you read on things/item/b, and none deny it"


def test_an_unsupported_operation_is_405(root: Client) -> None:
    """The path is there, but not for this verb."""
    answers = [root.delete("things/echo"), root.ask("OPTIONS", "things/echo"), root.get("sys/policies/acl")]
    assert [(answer.status, answer.errors) for answer in answers] == [(405, ["unsupported operation"])] * 3
    assert answers[0].document["advice"] == "this path takes update"


@pytest.mark.parametrize(
    "body", [b"{", b"[]", b'"text"', b"a=b", b"\xff\xfe", b'{"count": "many"}', b'{"ttl": "soon"}']
)
def test_bad_input_is_400(root: Client, body: bytes) -> None:
    """The message says what is wrong, and the code that it is the caller's to mend."""
    answer = root.post("things/echo", body)
    assert (answer.status, answer.document["code"]) == (400, "malformed")
    assert answer.errors[0].startswith("the request's body")


def test_a_failed_check_and_set_is_400_with_its_own_code(root: Client) -> None:
    """Clients of that API know no 409; programs of ours read the code."""
    answer = root.post("things/fail/conflict")
    assert (answer.status, answer.errors, answer.document["code"]) == (400, ["too late"], "conflict")
    assert answer.document["advice"] == "read again"


def test_answers_are_stored_by_nobody(root: Client, anonymous: Client) -> None:
    """Cache-Control: no-store; over TLS also Strict-Transport-Security, for this host alone."""
    answers = [root.post("things/echo"), root.post("things/item/a", {}), anonymous.get("things/item/a")]
    assert {answer.headers["cache-control"] for answer in answers} == {"no-store"}
    assert {answer.headers["strict-transport-security"] for answer in answers} == {"max-age=31536000"}


def test_times_are_rfc3339_with_z_and_numbers_are_integers(root: Client) -> None:
    """Consumers parse both strictly."""
    root.post("things/echo", {"ttl": "90s"})
    event = root.get("sys/log/events", "action=things.echo").data["events"][0]
    assert re.fullmatch(r"\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d\.\d{3}Z", event["at"])
    assert root.post("things/echo", {"ttl": 90.0}).data["body"]["ttl"].__class__ is int


def test_a_request_id_is_in_every_answer_and_in_the_log(root: Client, house: Core) -> None:
    """What is answered can be found in the log."""
    answers = [root.post("things/echo"), root.get("x/y")]
    found = [events(house, request_id=answer.document["request_id"]) for answer in answers]
    assert [[event.outcome for event in item] for item in found] == [["success"], ["refused"]]


def test_a_query_with_two_meanings_is_refused(root: Client) -> None:
    """A parameter given twice, octets that are no UTF-8, a NUL."""
    queries = ["version=1&version=2", "a=%ff", "a=%00", "&".join(f"a{number}=1" for number in range(80))]
    assert [root.get("things/item/a", query).status for query in queries] == [400] * 4
    assert root.ask("PUT", "things/echo", query="version=1&b=").data["query"] == {"version": "1", "b": ""}


def test_an_unforeseen_failure_tells_an_id_alone(
    root: Client, things: Things, caplog: pytest.LogCaptureFixture
) -> None:
    """500 with a request id: no trace, no text of the exception; the log has them."""
    answer = root.post("things/fail/now")
    assert things.kept == {}
    assert (answer.status, answer.errors, answer.document["code"]) == (500, ["the service failed"], "internal")
    assert b"hunter2" not in answer.body
    assert answer.document["request_id"] in caplog.text
    assert "hunter2-is-the-secret" in caplog.text
