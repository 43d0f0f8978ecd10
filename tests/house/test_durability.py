"""What is acknowledged is on the disk, but for the one thing that means nothing after a power cut (decision 9)."""

import ast

from tests.house.tree import Module, shipped

UNFLUSHED = {"acme_server/store.py": "spent nonces, whose key ends with the machine's run"}


def _appends_unflushed(module: Module) -> bool:
    return any(
        isinstance(node, ast.keyword)
        and node.arg == "durable"
        and isinstance(node.value, ast.Constant)
        and node.value.value is False
        for node in ast.walk(module.tree)
    )


def test_only_spent_nonces_do_not_wait_for_the_disk() -> None:
    """DESIGN 11: synchronous=FULL for everything else; a new exception needs a reason on this page."""
    assert {str(module.path) for module in shipped() if _appends_unflushed(module)} == set(UNFLUSHED)
