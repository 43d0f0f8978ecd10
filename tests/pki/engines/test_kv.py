"""The wire of the key/value engine: the answers that its clients know, and none for what is not served."""

import json
from typing import Any
from urllib.parse import parse_qsl

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from pki.api import answers
from pki.api.errors import refuse
from pki.api.request import _VERBS
from pki.api.routes import Routes
from pki.core import Core
from pki.engines.kv import Kv, go_duration
from pki.errors import Malformed, NotFound
from pki.operations.declare import NoBody
from pki.operations.wire import Span, decode
from tests.counts import count
from tests.pki.engines.conftest import Caller, caller
from tests.pki.engines.kv_walk import ANSWERS, STEPS, comparable
from tests.pki.vault.conftest import open_secrets


class Door:
    """Asks the engine as the pipeline does, apart from who asks."""

    def __init__(self, core: Core, **options: str) -> None:
        self.engine = Kv(open_secrets(core))
        self.caller: Caller = caller(core, "kv", "secret/", options or {"version": "2"})
        self._routes = Routes(self.engine)

    def ask(self, method: str, target: str, body: bytes = b"") -> tuple[int, Any]:
        """Return the status and the document of the answer."""
        path, _, query = target.partition("?")
        verb = _VERBS[method]
        try:
            matched = self._routes.match(verb, path)
            if matched is None:
                raise NotFound("unsupported path")  # noqa: TRY301 - as the pipeline does
            operation, variables = matched
            call = self.caller.call(path, **dict(parse_qsl(query)))
            decoded = decode(b"" if operation.body is NoBody else body, operation.body)
            if operation.exists is not None:
                operation.exists(self.engine, call, decoded, **variables)
            reply = operation.function(self.engine, call, decoded, **variables)
            answer = answers.of_reply(reply, "id", verb, operation.name)
        except Exception as error:  # noqa: BLE001 - as the pipeline does
            answer = answers.of_refusal(refuse(error), "id", "refused")
        return answer.status, json.loads(answer.body) if answer.body else None


@pytest.fixture
def door(core: Core) -> Door:
    """Give the engine on a mount that nothing was written to."""
    return Door(core)


def test_answers_are_those_of_another_server(door: Door) -> None:
    """A walk of over a hundred steps: statuses, data, their names and types, and the messages clients look for."""
    recorded = json.loads(ANSWERS.read_text(encoding="utf-8"))
    assert len(recorded) == len(STEPS) > 100
    different = []
    for (method, path, body), theirs in zip(STEPS, recorded, strict=True):
        ours = comparable(*door.ask(method, path, b"" if body is None else json.dumps(body).encode()))
        if ours != theirs:
            different.append((method, path, body, ours, theirs))
    assert different == []


def test_times_are_rfc_3339_with_z_and_agree(door: Door) -> None:
    """What a write answers, the read and the metadata answer too."""
    _, written = door.ask("POST", "data/a", b'{"data": {}}')
    _, read = door.ask("GET", "data/a")
    _, metadata = door.ask("GET", "metadata/a")
    created = written["data"]["created_time"]
    assert created.endswith("Z")
    assert created[10] == "T"
    assert read["data"]["metadata"] == written["data"]
    assert metadata["data"]["created_time"] == metadata["data"]["versions"]["1"]["created_time"] == created


@pytest.mark.parametrize("options", [{}, {"version": "1"}, {"version": ""}, {"version": "2", "read_mode": "strict"}])
def test_a_mount_of_another_version_is_refused_with_advice(core: Core, options: dict[str, str]) -> None:
    """Version 1 and options that are not served are named, at mounting and at each operation; never faked."""
    with pytest.raises(Malformed, match=r"version 1 .*not served.*version|no option 'read_mode'"):
        Kv.check_options(options)
    for operation in Kv.operations():
        path = operation.pattern.replace("<path:path>", "a")
        call = caller(core, "kv", "secret/", options).call(path)
        variables = {"path": "a"} if "<" in operation.pattern else {}
        if operation.pattern.partition("/")[0] in {"delete", "undelete", "destroy"}:
            body = decode(b'{"versions": [1]}', operation.body)
        else:
            body = decode(b'{"data": {}}', operation.body)
        with pytest.raises(Malformed, match=r"not served|no option"):
            operation.function(Kv(open_secrets(core)), call, body, **variables)
    Kv.check_options({"version": "2"})


def test_events_name_versions_and_never_values(core: Core, door: Door) -> None:
    """Decision 6: neither a value, nor a name in it, nor custom metadata are in the audit log."""
    steps = (
        ("POST", "data/a", {"data": {"canaryname": "canaryvalue"}}),
        ("PATCH", "data/a", {"data": {"canaryname": "canaryvalue2"}}),
        ("POST", "metadata/a", {"custom_metadata": {"canaryname": "canaryvalue"}}),
        ("PATCH", "metadata/a", {"custom_metadata": {"canaryname": "canaryvalue2"}}),
        ("DELETE", "data/a", None),
        ("POST", "undelete/a", {"versions": [2]}),
        ("POST", "destroy/a", {"versions": [1]}),
        ("POST", "config", {"max_versions": 3}),
        ("DELETE", "metadata/a", None),
    )
    for method, path, body in steps:
        status, _ = door.ask(method, path, json.dumps(body).encode())
        assert status in {200, 204}
    assert [event.get("version") or event.get("versions") for event in door.caller.recorded] == [
        1, 2, None, None, [2], [2], [1], None, 2,
    ]  # fmt: skip
    with core.database.read() as tx:
        rows = tx.exec_driver_sql("SELECT object, detail FROM audit_events").all()
    assert len([row for row in rows if row.object.startswith("secret/")]) == len(steps)
    assert "canary" not in str(rows)


@pytest.mark.parametrize(
    ("body", "said"),
    [
        (b"", "no data provided"),
        (b"null", "no data provided"),
        (b'{"data": null}', "no data provided"),
        (b'{"data": {}, "options": {"cas": null}}', "check-and-set"),
        (b'{"data": {}, "options": "hunter2"}', "options"),
        (b'{"data": {"n": 123456789012345678901234567890}}', "too large a number"),
        (b'{"data": {"n": 1e400}}', "out of range"),
        (b'{"data": {"n": "\\ud800"}}', "not a JSON object"),
        (b'{"data": {"n": NaN}}', "not a JSON object"),
        (b'{"data": {"n": ' + b"[" * 300 + b"]" * 300 + b"}}", "nested too deeply"),
        (b'{"data": {"n": ' + b'{"x":' * 5000 + b"1" + b"}" * 5000 + b"}}", "not a JSON object"),
        (b'{"data": {"n": "' + b"x" * (1 << 20) + b'"}}', "1048576 are allowed"),
    ],
    ids=lambda value: str(value)[:40],
)
def test_what_cannot_be_stored_is_refused_plainly(door: Door, body: bytes, said: str) -> None:
    """Never a 500, never a part of the value in the answer; the same for a patch, and nothing is written."""
    for method in ("POST", "PATCH"):
        status, answer = door.ask(method, "data/a", body)
        assert status == 400
        assert said in answer["errors"][0] + answer.get("advice", "")
        assert "hunter2" not in str(answer)
        assert len(str(answer)) < 400
    assert door.ask("GET", "metadata/a")[0] == 404


@pytest.mark.parametrize("query", ["version=-1", "version=1.0", "version=%C2%B2", "version=" + "9" * 30, "depth=x"])
def test_numbers_in_the_query_are_digits(door: Door, query: str) -> None:
    """What is no number is refused; a number that no version has finds none."""
    door.ask("POST", "data/a", b'{"data": {"x": 1}}')
    assert door.ask("GET", f"subkeys/a?{query}")[0] == 400
    assert door.ask("GET", "data/a?version=" + "9" * 19)[0] == 404


def test_numbers_and_letters_come_back_as_they_were(door: Door) -> None:
    """64-bit integers, floats, every letter: what is read is what was written."""
    data = {
        "big": 2**64 - 1,
        "small": -(2**63),
        "float": 1.5,
        "none": None,
        "": "\u0000\U0001f511",
        "list": [1, "a", {}],
    }
    assert door.ask("PUT", "data/a", json.dumps({"data": data}).encode())[0] == 200
    assert door.ask("GET", "data/a")[1]["data"]["data"] == data


@given(
    method=st.sampled_from(["GET", "POST", "PATCH", "DELETE", "LIST"]),
    place=st.sampled_from(["data", "metadata", "delete", "undelete", "destroy", "subkeys"]),
    path=st.text(max_size=20),
    query=st.sampled_from(["", "?version=1", "?version=x", "?limit=1", "?after=%00"]),
    body=st.binary(max_size=40)
    | st.recursive(
        st.none() | st.booleans() | st.integers() | st.text(max_size=5),
        lambda inner: (
            st.lists(inner, max_size=3)
            | st.dictionaries(st.sampled_from(["data", "options", "cas", "versions", "custom_metadata", "x"]), inner)
        ),
        max_leaves=6,
    ).map(lambda value: json.dumps(value).encode()),
)
@settings(max_examples=count(150, 3000), suppress_health_check=[HealthCheck.function_scoped_fixture])
def test_no_request_breaks_the_engine(  # noqa: PLR0917 - hypothesis names them
    door: Door, method: str, place: str, path: str, query: str, body: bytes
) -> None:
    """Whatever is asked and sent, the answer is one of those that clients know."""
    if path.startswith("/") or "?" in path:
        path = "a"
    status, _ = door.ask(method, f"{place}/{path or 'a'}{query}", body)
    assert status in {200, 204, 400, 404, 405}


@given(st.integers(0, 10**12))
def test_spans_are_written_as_they_are_read(milliseconds: int) -> None:
    """A span of settings comes back as the text that clients send."""
    seconds = milliseconds / 1000
    if seconds <= 100 * 365 * 86400:
        assert abs(Span.parse(go_duration(Span(seconds=seconds))).total_seconds() - seconds) < 0.001


def test_spans_have_the_look_of_go() -> None:
    """Clients in Go print and parse them so."""
    cases = {0: "0s", 59: "59s", 60: "1m0s", 5400: "1h30m0s", 12319: "3h25m19s", 86400: "24h0m0s", 1.5: "1.5s"}
    assert {seconds: go_duration(Span(seconds=seconds)) for seconds in cases} == cases
