"""The pipeline: who may do what, what is recorded, and what happens when either changes on the way."""

import dataclasses
import threading
from collections.abc import Callable
from datetime import timedelta

import pytest
from sqlalchemy import text

from pki.audit.events import Recorded
from pki.core import Core
from pki.storage.database import Tx
from tests.clocks import FrozenClock
from tests.pki.api.gateway_client import Answer, Client, Things
from tests.pki.api.gateway_fixtures import NewClient, anonymous, client_with, events, house, root, things

__all__ = ["anonymous", "client_with", "house", "root", "things"]

EVERYTHING = 'path "things/*" { capabilities = ["create", "read", "update", "patch", "delete", "list", "sudo"] }'


def _rule(path: str, *capabilities: str) -> str:
    words = ", ".join(f'"{capability}"' for capability in capabilities)
    return f'path "{path}" {{ capabilities = [{words}] }}'


def _only(found: list[Recorded]) -> Recorded:
    assert len(found) == 1
    return found[0]


# Policies


def test_create_is_needed_for_what_is_not_there_and_update_for_what_is(client_with: NewClient) -> None:
    """A write needs the capability for what it does: CREATE where nothing is yet."""
    creator, updater = (
        client_with(_rule("things/item/*", "create")),
        client_with(_rule("things/item/*", "update"), "two"),
    )
    assert updater.post("things/item/a", {}).document["advice"].startswith("a policy must give you create on")
    assert creator.post("things/item/a", {}).status == 204
    assert creator.post("things/item/a", {}).document["advice"].startswith("a policy must give you update on")
    assert updater.post("things/item/a", {}).status == 204


def test_with_both_or_neither_nothing_is_looked_up(client_with: NewClient, things: Things) -> None:
    """Who may do neither learns nothing of whether it exists, nor is his body read."""
    things.kept["a"] = things.kept["b"] = None  # type: ignore[assignment] # there is something
    neither = client_with(_rule("things/item/*", "read"))
    answers = [neither.post(f"things/item/{name}", b"{") for name in ("a", "c")]
    assert [answer.status for answer in answers] == [403, 403]
    assert client_with(_rule("things/item/*", "create", "update"), "two").post("things/item/c", {}).status == 204


def test_a_privileged_operation_needs_sudo_too(client_with: NewClient) -> None:
    """Read alone is not enough, and neither is sudo alone."""
    clients = [
        client_with(_rule("things/secret-room", *capabilities), name)
        for name, capabilities in {"r": ("read",), "s": ("sudo",), "both": ("read", "sudo")}.items()
    ]
    assert [client.get("things/secret-room").status for client in clients] == [403, 403, 200]


@pytest.mark.parametrize("pattern", ["things/item", "things/item/", "things/*", "things/+/"])
def test_listing_is_given_with_and_without_the_slash(client_with: NewClient, things: Things, pattern: str) -> None:
    """LIST is done to a folder: rules with and without its last slash give it, in both spellings of the request."""
    client = client_with(_rule(pattern, "list"))
    things.kept["a"] = None  # type: ignore[assignment] # its name is enough
    spellings = [client.list("things/item"), client.list("things/item/"), client.get("things/item", "list=true")]
    assert [answer.data["keys"] for answer in spellings] == [["a"]] * 3


def test_a_deny_holds_for_listing(client_with: NewClient) -> None:
    """P3: LIST is held by a deny like any verb."""
    client = client_with(_rule("things/*", "list") + "\n" + _rule("things/folder/private/*", "deny"))
    assert client.list("things/folder/open").status == 200
    assert client.list("things/folder/private/sub").status == 403


def test_open_operations_ask_for_no_token_and_take_no_harm_from_a_bad_one(anonymous: Client) -> None:
    """A client with an old token in its environment can still log in."""
    stale = dataclasses.replace(anonymous, token="sw.gone")  # noqa: S106 - it is none
    assert [client.get("things/public").data["actor"] for client in (anonymous, stale)] == ["anonymous"] * 2
    assert stale.post("things/login", {"value": "alice"}).status == 200


# Paths


@pytest.mark.parametrize(
    "path",
    [
        "things//item/a",
        "things/./item/a",
        "things/../item/a",
        "things/item/a/",
        "things/item/a%2f",
        "things/item/\x00",
        "things/item;x/a",
        "things\\item/a",
        "things/item/..",
        "/things/item/a",
        "things/item/a\n",
    ],
)
@pytest.mark.parametrize("method", ["GET", "POST", "PUT", "PATCH", "DELETE", "LIST", "HEAD"])
def test_a_path_with_a_second_spelling_is_400_for_every_method(
    root: Client, things: Things, method: str, path: str
) -> None:
    """P1: refused before mount, token or policy are looked at; only what is listed ends in a slash."""
    expected = 405 if method == "LIST" and path.endswith("a/") else 400
    assert root.ask(method, path, {}).status == expected
    assert things.kept == {}


def test_octets_that_are_no_utf8_are_400(root: Client) -> None:
    """P1: overlong and broken UTF-8 have no decoded spelling."""
    answer = root.ask("GET", "things/item/\udcc0\udcaf")
    assert answer.status == 400


def test_paths_differ_by_case(root: Client, client_with: NewClient) -> None:
    """P1: what is authorised is what is served, letter by letter."""
    root.post("things/item/a", {})
    client = client_with(_rule("things/item/a", "read"))
    assert [client.get(path).status for path in ("things/item/a", "things/item/A", "Things/item/a")] == [200, 403, 403]


def test_the_path_recorded_is_the_path_authorised_and_served(root: Client, house: Core) -> None:
    """P1: one spelling, in the decision, in the engine and in the log."""
    answer = root.list("things/folder/a é/b")
    assert answer.data["key_info"] == {"a é/b": "things/folder/a é/b/"}
    assert _only(events(house, action="things.list_folder")).object == "things/folder/a é/b/"


# Recording


def test_a_read_is_recorded_before_it_is_answered(root: Client, house: Core) -> None:
    """L3: who, what, to which path, from where; never the value."""
    root.post("things/item/a", {"value": "hunter2"})
    answer = root.get("things/item/a")
    event = _only(events(house, request_id=answer.document["request_id"]))
    assert (event.action, event.object, event.outcome) == ("things.read_item", "things/item/a", "success")
    assert event.detail == {"remote": "192.0.2.7", "status": 200}
    assert event.actor.startswith("root (")
    assert "hunter2" not in str(events(house))


def test_a_write_is_recorded_once_and_in_its_own_transaction(root: Client, house: Core) -> None:
    """L3: what the operation recorded itself is not recorded again."""
    before = len(events(house))
    root.post("things/item/a", {"count": 3})
    assert len(events(house)) == before + 1
    event = _only(events(house, action="things.write_item"))
    assert event.object == "thing a"
    assert event.detail == {"count": 3, "remote": "192.0.2.7"}


def test_refusals_and_failures_are_recorded(
    root: Client, anonymous: Client, client_with: NewClient, house: Core
) -> None:
    """L3: denied, refused and failed, each with its code and by whom."""
    nobody = client_with(_rule("x", "read"))
    answers = [
        anonymous.get("things/item/a"),
        nobody.get("things/item/a"),
        root.post("things/fail/conflict"),
        root.post("things/fail/now"),
        root.get("things/item/a", "a=1&a=2"),
        root.ask("BREW", "things/item/a"),
    ]
    found = [_only(events(house, request_id=answer.document["request_id"])) for answer in answers]
    assert [(event.outcome, event.detail["code"], event.action) for event in found] == [
        ("denied", "unauthenticated", "things.read_item"),
        ("denied", "denied", "things.read_item"),
        ("refused", "conflict", "things.fail"),
        ("failed", "internal", "things.fail"),
        ("refused", "malformed", "api.refuse"),
        ("refused", "unsupported", "api.refuse"),
    ]
    assert [event.actor.partition(" ")[0] for event in found] == ["anonymous", "service", "root", "root"] + [
        "anonymous"
    ] * 2


def test_what_is_public_is_counted_and_not_recorded(root: Client, house: Core) -> None:
    """Decision 6: health, seal status and other open reads leave no event."""
    before = len(events(house))
    paths = ["sys/health", "sys/seal-status", "sys/init", "sys/leader", "things/public", "sys/internal/ui/mounts"]
    assert [root.get(path).status for path in paths] == [200] * len(paths)
    assert len(events(house)) == before


def test_a_login_that_fails_is_recorded(anonymous: Client, house: Core) -> None:
    """An open operation that is no read leaves an event, whatever came of it."""
    answers = [anonymous.post("things/login", {}), anonymous.post("things/login", {"value": "alice"})]
    assert [answer.status for answer in answers] == [400, 200]
    assert {event.outcome for event in events(house, action="things.login")} == {"refused", "success"}


def test_a_path_that_is_refused_is_recorded_in_printable_form(root: Client, house: Core) -> None:
    """L2: no octet of a request begins a line of its own in the log, or is too much for the database."""
    answers = [root.get("things/\nfake\x00\x1b[31m"), root.get("x//" + "y" * 5000)]
    short, long = [_only(events(house, request_id=answer.document["request_id"])).object for answer in answers]
    assert short == r"'things/\nfake\x00\x1b[31m'"
    assert len(long) < 1100


def _refuse_events(core: Core) -> Callable[[], None]:
    """Make the database refuse every new event; return what takes that back."""
    if core.database.dialect == "sqlite":
        make = ["CREATE TRIGGER full BEFORE INSERT ON audit_events BEGIN SELECT RAISE(ABORT, 'no more'); END"]
        undo = ["DROP TRIGGER full"]
    else:
        make = [
            "CREATE FUNCTION no_more() RETURNS trigger LANGUAGE plpgsql AS $$ BEGIN RAISE 'no more'; END $$",
            "CREATE TRIGGER no_more BEFORE INSERT ON audit_events FOR EACH ROW EXECUTE FUNCTION no_more()",
        ]
        undo = ["DROP TRIGGER no_more ON audit_events", "DROP FUNCTION no_more"]

    def run(statements: list[str]) -> None:
        def work(tx: Tx) -> None:
            for statement in statements:
                tx.execute(text(statement))

        core.database.write(work)

    run(make)
    return lambda: run(undo)


def test_what_cannot_be_recorded_is_not_answered(root: Client, house: Core, things: Things) -> None:
    """L3: 503 without data, for reads, writes and refusals alike; nothing was changed."""
    root.post("things/item/a", {"value": "hunter2"})
    restore = _refuse_events(house)
    try:
        answers = [
            root.get("things/item/a"),
            root.post("things/item/b", {}),
            root.get("things/nowhere"),
            root.get("sys/mounts"),
        ]
        assert root.get("sys/health").status == 200
    finally:
        restore()
    assert {(answer.status, answer.document["code"]) for answer in answers} == {(503, "unavailable")}
    assert not any(b"hunter2" in answer.body for answer in answers)
    assert "b" not in things.kept
    assert answers[0].headers["retry-after"] == "5"
    assert root.get("things/item/a").status == 200


# What changes on the way


def _ask_meanwhile(client: Client, things: Things, change: Callable[[], object]) -> Answer:
    """Return the answer of a slow read, in the middle of which `change` is made."""
    answers: list[Answer] = []
    thread = threading.Thread(target=lambda: answers.append(client.get("things/slow")))
    thread.start()
    assert things.entered.wait(10)
    change()
    things.going_on.set()
    thread.join(10)
    return answers[0]


def test_a_token_revoked_while_it_reads_gets_nothing(client_with: NewClient, things: Things, house: Core) -> None:
    """A01: the epoch is read again in the transaction that records the read, and the decision made again."""
    client = client_with(EVERYTHING)
    answer = _ask_meanwhile(client, things, lambda: house.tokens.revoke_kind("service"))
    assert (answer.status, answer.errors) == (403, ["permission denied"])
    assert b"of slow" not in answer.body
    assert _only(events(house, action="things.read_slowly")).outcome == "denied"
    assert client.get("things/public").status == 200
    assert client.get("things/item/a").status == 403


def test_a_policy_narrowed_while_it_reads_holds_at_once(client_with: NewClient, things: Things, house: Core) -> None:
    """The change was committed before the answer, so the answer follows it."""
    client = client_with(EVERYTHING)
    narrow = _rule("things/slow", "deny")
    answer = _ask_meanwhile(
        client, things, lambda: house.database.write(lambda tx: house.policies.set(tx, "tested", narrow))
    )
    assert (answer.status, answer.document["code"]) == (403, "denied")


def test_a_mount_removed_while_it_is_read_is_gone(root: Client, things: Things) -> None:
    """404, as for everybody who comes later."""
    answer = _ask_meanwhile(root, things, lambda: root.delete("sys/mounts/things"))
    assert (answer.status, answer.errors) == (404, ['no handler for route "things/slow". route entry not found.'])


def test_a_change_elsewhere_does_not_disturb_a_read(root: Client, things: Things) -> None:
    """The epoch moved, the decision is made again, and it is the same."""
    answer = _ask_meanwhile(root, things, lambda: root.post("sys/policies/acl/other", {"policy": _rule("x", "read")}))
    assert (answer.status, answer.data) == (200, {"secret": "of slow"})


def test_another_process_sees_changes_at_its_next_request(client_with: NewClient, house: Core) -> None:
    """A01: what was revoked, narrowed or unmounted by another worker is refused at once."""
    client = client_with(EVERYTHING)
    assert client.get("things/absent").status == 404
    other = Client(client.application, house.tokens.make("root", ("root",), timedelta(hours=1)))
    other.post("sys/policies/acl/tested", {"policy": _rule("things/absent", "deny")})
    assert client.get("things/absent").status == 403
    other.post("sys/policies/acl/tested", {"policy": EVERYTHING})
    assert client.get("things/absent").status == 404
    other.delete("sys/mounts/things")
    assert client.get("things/absent").errors == ['no handler for route "things/absent". route entry not found.']


def test_an_expired_token_is_refused(client_with: NewClient, house_clock: FrozenClock) -> None:
    """One hour is one hour."""
    client = client_with(EVERYTHING)
    house_clock.advance(timedelta(minutes=59))
    assert client.post("things/echo").status == 200
    house_clock.advance(timedelta(minutes=1))
    assert client.post("things/echo").document["code"] == "unauthenticated"


@pytest.mark.parametrize(
    ("method", "path", "recorded"),
    [
        ("POST", "auth/token/revoke/{token}", "auth/token/revoke/(token)"),
        ("GET", "secret/data/{token}", "secret/data/(token)"),
    ],
)
def test_a_token_in_a_path_is_not_recorded(root: Client, house: Core, method: str, path: str, recorded: str) -> None:
    """L1: whoever puts a token where a name belongs leaves no token in the log."""
    answer = root.send(method, path.format(token=house.tokens.make("root", ("root",), None)))
    assert _only(events(house, request_id=answer.document["request_id"])).object == recorded


def test_what_is_typed_in_place_of_a_login_s_name_is_not_recorded(anonymous: Client, house: Core) -> None:
    """L1: a request below auth/ that nobody serves, by nobody known, is recorded without its end."""
    answer = anonymous.send("GET", "auth/userpass/login/hunter2")
    assert _only(events(house, request_id=answer.document["request_id"])).object == "auth/userpass/..."
