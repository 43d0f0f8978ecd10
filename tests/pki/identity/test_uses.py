"""Tokens whose uses are numbered."""

from concurrent.futures import ThreadPoolExecutor
from datetime import timedelta

import pytest

from pki.errors import Denied, NotFound, Rejected
from pki.identity.tokens import Tokens
from pki.storage.database import Database
from tests.pki.identity.conftest import add
from tests.pki.identity.test_tokens import is_good


def test_a_token_is_dead_after_its_last_use(database: Database, tokens: Tokens) -> None:
    """T5: each request counts one; the last is served to its end, and then nothing knows the token."""
    made = add(database, tokens, uses=2)
    assert made.uses == 2
    tokens.authenticate(made.token)
    assert tokens.lookup(made.accessor).uses_left == 1
    principal = tokens.authenticate(made.token)
    assert tokens.confirm(principal) == principal
    assert tokens.lookup(made.accessor, spent=True).uses_left == 0
    with pytest.raises(NotFound):
        tokens.lookup(made.accessor)
    with pytest.raises(NotFound):
        tokens.lookup_token(made.token)
    assert tokens.accessors() == []
    assert not is_good(tokens, made.token)


def test_looking_up_counts_no_use(database: Database, tokens: Tokens) -> None:
    """Only requests that the token makes are counted."""
    made = add(database, tokens, uses=1)
    for _ in range(3):
        assert tokens.lookup(made.accessor).uses_left == 1
        assert tokens.lookup_token(made.token).uses_left == 1
    assert is_good(tokens, made.token)


def test_of_50_requests_at_once_exactly_as_many_are_served_as_there_are_uses(
    database: Database, tokens: Tokens
) -> None:
    """A11 T5: the uses hold under 50 threads."""
    made = add(database, tokens, uses=20)
    with ThreadPoolExecutor(50) as pool:
        served = list(pool.map(lambda _: is_good(tokens, made.token), range(50)))
    assert sum(served) == 20


def test_a_token_with_numbered_uses_makes_no_other(database: Database, tokens: Tokens) -> None:
    """T5: or else its uses would be without number."""
    made = add(database, tokens, uses=5)
    with pytest.raises(Rejected, match="makes no other"):
        add(database, tokens, parent=made.accessor)


def test_a_revoked_token_has_no_use_left(database: Database, tokens: Tokens) -> None:
    """D11: between the look at the row and the count, the count decides."""
    made = add(database, tokens, uses=5, lifetime=timedelta(hours=1))
    database.write(lambda tx: tokens.revoke(tx, made.accessor))
    assert not database.write(lambda tx: tokens._use(tx, made.accessor))
    assert not is_good(tokens, made.token)


def test_what_was_denied_or_not_is_all_that_a_use_tells(database: Database, tokens: Tokens) -> None:
    """0 uses asked for are any number."""
    made = add(database, tokens, uses=0)
    assert made.uses is None
    for _ in range(5):
        assert tokens.authenticate(made.token).accessor == made.accessor
    with pytest.raises(Denied):
        tokens.authenticate(made.token + "A")
