"""A walk through the key/value API: what is asked, step by step, and what another server answered.

`python -m tests.pki.engines.kv_walk http://127.0.0.1:8200 TOKEN` walks through a server of the Vault HTTP API that has
a kv version 2 mount at `walk/` on which nothing was written, and writes its answers to `kv_walk.json`.
"""

import json
import re
import sys
from pathlib import Path
from typing import Any

import requests

ANSWERS = Path(__file__).with_suffix(".json")
_THEIRS = {"metadata_cas_required", "current_metadata_version"}
_TIME = re.compile(r"^\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d(\.\d+)?Z$")

Step = tuple[str, str, Any]

_CONFIG: list[Step] = [
    ("GET", "config", None),
    ("POST", "config", {"max_versions": 3, "cas_required": False, "delete_version_after": "3h25m19s"}),
    ("GET", "config", None),
    ("PUT", "config", {"max_versions": "4", "delete_version_after": "0s"}),
    ("GET", "config", None),
    ("POST", "config", {"max_versions": 0}),
]
_DATA: list[Step] = [
    ("GET", "data/a", None),
    ("GET", "metadata/a", None),
    ("LIST", "metadata/", None),
    ("POST", "data/a", {"data": {"x": 1}}),
    ("GET", "data/a", None),
    ("GET", "metadata/a", None),
    ("POST", "data/a", {"data": {"x": 2}, "options": {"cas": 0}}),
    ("POST", "data/a", {"data": {"x": 2}, "options": {"cas": "1"}}),
    ("PUT", "data/a", {"data": {"x": 3}, "options": {}}),
    ("PUT", "data/a", {"data": {}, "options": None}),
    ("PUT", "data/a", {"data": {"x": 2}, "options": {"cas": "q"}}),
    ("PUT", "data/a", {"data": {"x": 2}, "options": {"cas": -1}}),
    ("PUT", "data/a", {"x": 2}),
    ("PUT", "data/a", {"data": "text"}),
    ("PUT", "data/a", {"data": [1]}),
    ("GET", "data/a", None),
    ("GET", "data/a?version=1", None),
    ("GET", "data/a?version=0", None),
    ("GET", "data/a?version=", None),
    ("GET", "data/a?version=99", None),
    ("GET", "data/a?version=x", None),
    ("PATCH", "data/a", {"data": {"n": {"a": 1, "b": 2}, "y": 5}}),
    ("PATCH", "data/a", {"data": {"n": {"a": None}, "y": None}}),
    ("GET", "data/a", None),
    ("PATCH", "data/a", {"data": {"n": 1}, "options": {"cas": 1}}),
    ("PATCH", "data/a", {"options": {}}),
    ("PATCH", "data/a", None),
    ("GET", "metadata/a", None),
]
_DELETION: list[Step] = [
    ("DELETE", "data/a", None),
    ("GET", "data/a", None),
    ("PATCH", "data/a", {"data": {"n": 1}}),
    ("DELETE", "data/a", None),
    ("DELETE", "data/none", None),
    ("GET", "subkeys/a", None),
    ("POST", "undelete/a", {"versions": [6]}),
    ("GET", "data/a", None),
    ("POST", "undelete/a", {}),
    ("POST", "undelete/a", {"versions": []}),
    ("POST", "undelete/a", {"versions": ["x"]}),
    ("POST", "undelete/a", {"versions": "1,2"}),
    ("POST", "undelete/a", {"versions": 5}),
    ("POST", "undelete/none", {"versions": [1]}),
    ("POST", "delete/a", {"versions": [1, "2", 99]}),
    ("POST", "delete/a", {}),
    ("GET", "data/a?version=2", None),
    ("PUT", "destroy/a", {"versions": [2, 3]}),
    ("POST", "destroy/a", {}),
    ("GET", "data/a?version=2", None),
    ("GET", "data/a?version=3", None),
    ("PUT", "undelete/a", {"versions": [1, 2, 3]}),
    ("GET", "metadata/a", None),
    ("PUT", "destroy/a", {"versions": [6]}),
    ("PUT", "data/a", {"data": {}, "options": {"cas": 0}}),
    ("PUT", "data/a", {"data": {}, "options": {"cas": 6}}),
]
_METADATA: list[Step] = [
    ("POST", "metadata/m", {}),
    ("GET", "metadata/m", None),
    ("PUT", "metadata/m", {"custom_metadata": {"a": "1"}, "delete_version_after": "90m", "cas_required": True}),
    ("GET", "metadata/m", None),
    ("GET", "data/m", None),
    ("PUT", "data/m", {"data": {"a": 1}}),
    ("PUT", "data/m", {"data": {"a": 1}, "options": {"cas": 0}}),
    ("GET", "data/m", None),
    ("PUT", "metadata/m", {"cas_required": False, "max_versions": 2, "delete_version_after": "0s"}),
    ("PUT", "metadata/m", {"custom_metadata": {"b": "2", "c": "3"}}),
    ("PATCH", "metadata/m", {"custom_metadata": {"b": None, "d": "4"}, "max_versions": 3}),
    ("GET", "metadata/m", None),
    ("PATCH", "metadata/m", {"custom_metadata": None, "max_versions": None}),
    ("GET", "metadata/m", None),
    ("PATCH", "metadata/none", {"max_versions": 3}),
    ("PUT", "metadata/m", {"custom_metadata": {"": "x"}}),
    ("PUT", "metadata/m", {"custom_metadata": "x"}),
    ("PUT", "metadata/m", {"max_versions": "x"}),
    ("PUT", "metadata/m", {"cas_required": "maybe"}),
    ("PUT", "metadata/m", {"delete_version_after": "x"}),
    ("DELETE", "metadata/m", None),
    ("DELETE", "metadata/m", None),
    ("GET", "data/m", None),
]
_REST: list[Step] = [
    *[("PUT", "data/v", {"data": {"n": number}}) for number in range(12)],
    ("GET", "metadata/v", None),
    ("PUT", "data/s", {"data": {"a": {"b": {"c": 1}, "e": {}}, "l": [1], "s": "v", "n": None}}),
    ("GET", "data/s", None),
    ("GET", "subkeys/s", None),
    ("GET", "subkeys/s?depth=1", None),
    ("GET", "subkeys/s?depth=2", None),
    ("GET", "subkeys/s?version=9", None),
    ("PUT", "data/b/c", {"data": {}}),
    ("PUT", "data/b/d/e", {"data": {}}),
    ("PUT", "data/b", {"data": {}}),
    ("PUT", "data/B", {"data": {}}),
    ("LIST", "metadata/", None),
    ("LIST", "metadata/b/", None),
    ("LIST", "metadata/b/c/", None),
    ("LIST", "metadata/?limit=2", None),
    ("LIST", "metadata/?after=b&limit=2", None),
    ("GET", "undelete/a", None),
    ("DELETE", "config", None),
]
STEPS: list[Step] = [*_CONFIG, *_DATA, *_DELETION, *_METADATA, *_REST]


def comparable(status: int, document: Any) -> dict[str, Any]:
    """Return what two servers must agree on: status, data without times, and the messages that clients look for."""
    found: dict[str, Any] = {"status": status, "data": _timeless(document.get("data") if document else None)}
    errors = [text for text in (document or {}).get("errors", []) if text.startswith("check-and-set")]
    return {**found, "errors": errors}


def _timeless(value: Any) -> Any:
    if isinstance(value, dict):
        return {name: _timeless(item) for name, item in value.items() if name not in _THEIRS}
    if isinstance(value, list):
        return [_timeless(item) for item in value]
    return "a time" if isinstance(value, str) and _TIME.match(value) else value


def _record(base: str, token: str) -> None:
    answers = []
    for method, path, body in STEPS:
        headers = {"X-Vault-Token": token}
        if method == "PATCH":
            headers["Content-Type"] = "application/merge-patch+json"
        answer = requests.request(method, f"{base}/v1/walk/{path}", json=body, headers=headers, timeout=10)
        answers.append(comparable(answer.status_code, answer.json() if answer.content else None))
    lines = ",\n".join(json.dumps(answer, sort_keys=True) for answer in answers)
    ANSWERS.write_text(f"[\n{lines}\n]\n", encoding="utf-8")


if __name__ == "__main__":
    _record(*sys.argv[1:3])
