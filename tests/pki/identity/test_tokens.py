"""Making, using and renewing client tokens."""

import re
import time
from datetime import timedelta
from statistics import median

import pytest
from sqlalchemy import select

from pki.clock import rfc3339
from pki.errors import Denied, Malformed, NotFound, Rejected
from pki.identity.tokens import MAX_LIFETIME, Tokens
from pki.storage.database import Database
from pki.storage.tables import tokens as rows
from tests.clocks import FrozenClock
from tests.pki.identity.conftest import add, new, open_tokens

HOUR = timedelta(hours=1)


def is_good(tokens: Tokens, token: str) -> bool:
    """Tell whether a token is accepted; whatever it is, it is refused in the same words."""
    try:
        tokens.authenticate(token)
    except Denied as error:
        if str(error) != "permission denied":
            raise
        return False
    return True


def test_a_token_tells_who_acts(database: Database, tokens: Tokens, clock: FrozenClock) -> None:
    """A token stands for what it was made with, for an hour unless something else is said."""
    made = add(database, tokens, metadata={"role": "ci"})
    assert re.fullmatch(r"sw\.[A-Za-z0-9_-]{43}", made.token)
    principal = tokens.authenticate(made.token)
    assert (principal.accessor, principal.kind, principal.name) == (made.accessor, "service", f"app ({made.accessor})")
    assert (principal.policies, principal.metadata) == (("default", "reader"), {"role": "ci"})
    assert (principal.path, principal.namespace_id, made.lifetime) == ("auth/x/login", "root", 3600)
    assert principal.expires_at is not None
    assert rfc3339(principal.expires_at) == rfc3339(clock.now() + HOUR)


def test_the_database_holds_no_token(database: Database, tokens: Tokens) -> None:
    """T4 A10: only a digest under a key is kept, and neither repr nor row shows the token."""
    made = add(database, tokens)
    with database.read() as tx:
        kept = str(tx.execute(select(rows)).all())
    secret = made.token.removeprefix("sw.")
    assert secret not in kept
    assert secret not in repr(made)
    other = Tokens(database, tokens._clock, tokens._ids, tokens._trail, b"another key".ljust(32))
    assert not is_good(other, made.token)


@pytest.mark.parametrize(
    "token",
    [
        "",
        "sw.",
        "sw." + "a" * 42,
        "sw." + "a" * 44,
        "sw." + "a" * 43 + "\n",
        "hvs." + "a" * 43,
        "sw." + "é" * 43,
        "sw." + "\N{FULLWIDTH DIGIT ONE}" * 43,
        "\0",
        "sw." + "a" * 10_000_000,
        "SW." + "a" * 43,
        "\ud800",
    ],
    ids=range(12),
)
def test_what_is_no_token_is_refused_as_an_unknown_one_is(tokens: Tokens, token: str) -> None:
    """T4 D1: malformed tokens get the same words as unknown ones, and cost nothing."""
    began = time.perf_counter()
    assert not is_good(tokens, token)
    assert time.perf_counter() - began < 0.1
    with pytest.raises(NotFound):
        tokens.lookup_token(token)
    with pytest.raises(NotFound):
        tokens.lookup(token)


def test_the_time_of_a_refusal_does_not_tell_how_near_a_guess_was(database: Database, tokens: Tokens) -> None:
    """T4: a guess that differs in its last character takes no longer than one that differs in its first."""
    token = add(database, tokens).token
    near = token[:-2] + ("A" if token[-2] != "A" else "B") + token[-1]
    far = "sw." + ("A" if token[3] != "A" else "B") + token[4:]
    spent: dict[str, list[float]] = {near: [], far: []}
    for _ in range(300):
        for guess, times in spent.items():
            began = time.perf_counter()
            assert not is_good(tokens, guess)
            times.append(time.perf_counter() - began)
    assert median(spent[near]) == pytest.approx(median(spent[far]), rel=0.5)


def test_an_expired_token_is_refused(database: Database, tokens: Tokens, clock: FrozenClock) -> None:
    """At the instant of its end a token is over, for its holder and for those who look it up."""
    made = add(database, tokens, lifetime=timedelta(minutes=5))
    clock.advance(timedelta(minutes=5) - timedelta(milliseconds=1))
    assert is_good(tokens, made.token)
    clock.advance(timedelta(milliseconds=1))
    assert not is_good(tokens, made.token)
    assert tokens.accessors() == []
    with pytest.raises(NotFound):
        tokens.lookup(made.accessor)


def test_no_token_outlives_a_week(database: Database, tokens: Tokens, clock: FrozenClock) -> None:
    """Whatever is asked for, and however often it is renewed, a service token ends within seven days."""
    made = add(database, tokens, lifetime=timedelta(days=400), max_lifetime=timedelta(days=400))
    assert made.lifetime == MAX_LIFETIME.total_seconds()
    assert made.warnings
    for _ in range(7):
        clock.advance(timedelta(days=1) - timedelta(milliseconds=1))
        database.write(lambda tx: tokens.renew(tx, made.accessor, None))
    clock.advance(timedelta(milliseconds=7))
    assert not is_good(tokens, made.token)


def test_a_renewal_lets_a_token_live_longer_and_never_shorter(
    database: Database, tokens: Tokens, clock: FrozenClock
) -> None:
    """It lives from now as long as it was made for, or as is asked, and its present end comes no nearer."""
    made = add(database, tokens, lifetime=HOUR, max_lifetime=2 * HOUR)

    def renew(increment: timedelta | None) -> tuple[int, bool]:
        done = database.write(lambda tx: tokens.renew(tx, made.accessor, increment))
        assert (done.token, done.accessor, done.policies) == ("", made.accessor, made.policies)
        return done.lifetime, bool(done.warnings)

    clock.advance(timedelta(minutes=30))
    assert renew(timedelta(minutes=10)) == (1800, False)  # half an hour is left
    assert renew(timedelta(minutes=45)) == (2700, False)
    assert renew(None) == (3600, False)
    assert renew(timedelta(hours=3)) == (3600, True)
    clock.advance(timedelta(minutes=45))
    assert renew(None) == (2700, True)
    clock.advance(timedelta(minutes=45))
    assert not is_good(tokens, made.token)
    with pytest.raises(NotFound):
        renew(None)


def test_what_is_not_renewable_is_not_renewed(database: Database, tokens: Tokens) -> None:
    """T5: nor are tokens that do not expire, nor dead ones."""
    fixed = add(database, tokens, renewable=False).accessor
    root = tokens.authenticate(tokens.make("root", ["root"], None)).accessor
    for accessor in (fixed, root):
        with pytest.raises(Rejected, match="not renewable"):
            database.write(lambda tx, accessor=accessor: tokens.renew(tx, accessor, None))  # type: ignore[misc]
    for unknown in ("a" * 26, "", "\0", "x" * 100):
        with pytest.raises(NotFound):
            database.write(lambda tx, unknown=unknown: tokens.renew(tx, unknown, None))  # type: ignore[misc]


def test_a_child_ends_with_its_parent(database: Database, tokens: Tokens, clock: FrozenClock) -> None:
    """T5: neither when it is made nor when it is renewed does a child get past the end that its parent has then."""
    parent = add(database, tokens, lifetime=HOUR)
    clock.advance(timedelta(minutes=40))
    child = add(database, tokens, lifetime=HOUR, parent=parent.accessor)
    assert (child.lifetime, child.orphan, bool(child.warnings)) == (1200, False, True)
    assert database.write(lambda tx: tokens.renew(tx, child.accessor, None)).lifetime == 1200
    database.write(lambda tx: tokens.renew(tx, parent.accessor, None))
    assert database.write(lambda tx: tokens.renew(tx, child.accessor, None)).lifetime == 3600
    clock.advance(HOUR)
    assert not is_good(tokens, child.token)
    with pytest.raises(Denied):
        add(database, tokens, parent=parent.accessor)


def test_a_token_without_the_default_policy_is_made_on_request(database: Database, tokens: Tokens) -> None:
    """Policies are a sorted set; default is among them unless it is left out."""
    made = add(database, tokens, policies=["b", "a", "b"], default_policy=False)
    assert made.policies == ("a", "b")
    assert tokens.authenticate(made.token).policies == ("a", "b")
    assert add(database, tokens, policies=[]).policies == ("default",)


@pytest.mark.parametrize("name", ["root", " root", "ROOT", "Root", "\uff52oot", "root\0", "a/b", "", "a" * 200, "a\n"])
def test_no_service_token_gets_the_root_policy_by_any_spelling(database: Database, tokens: Tokens, name: str) -> None:
    """P2 T3: names that are not canonical are refused, and so is root."""
    with pytest.raises(Malformed):
        add(database, tokens, policies=[name])
    with pytest.raises(Malformed):
        tokens.make("service", [name], HOUR)
    assert tokens.accessors() == []


@pytest.mark.parametrize(
    "changes",
    [
        {"display_name": ""},
        {"display_name": "a\nb"},
        {"display_name": "a" * 129},
        {"display_name": "\x1b[1m"},
        {"display_name": "\0"},
        {"metadata": {"a": "b\nc"}},
        {"metadata": {"": "b"}},
        {"metadata": {"a": "b" * 513}},
        {"metadata": {"a": "\ud800"}},
        {"metadata": {f"a{number}": "b" for number in range(65)}},
    ],
    ids=range(10),
)
def test_what_would_not_stand_in_one_line_of_a_log_is_refused(
    database: Database, tokens: Tokens, changes: dict[str, object]
) -> None:
    """L2: display name and metadata are short and printable."""
    with pytest.raises(Malformed):
        add(database, tokens, **changes)


def test_a_bootstrap_token_may_do_everything_until_it_ends(tokens: Tokens, clock: FrozenClock) -> None:
    """The first credential: root, for minutes, and not renewable."""
    token = tokens.make("bootstrap", ("root",), timedelta(minutes=10))
    principal = tokens.authenticate(token)
    assert (principal.kind, principal.policies, principal.display_name) == ("bootstrap", ("root",), "bootstrap")
    kept = tokens.lookup(principal.accessor)
    assert (kept.parent, kept.renewable, kept.lifetime) == (None, False, timedelta(minutes=10))
    assert kept.seconds_left(clock.now()) == 600
    clock.advance(timedelta(minutes=10))
    assert not is_good(tokens, token)


def test_a_root_token_lives_until_it_is_revoked(tokens: Tokens, clock: FrozenClock) -> None:
    """Without a lifetime there is no end, and what is left of it is told as 0."""
    token = tokens.make("root", ("root",), None)
    clock.advance(timedelta(days=4000))
    kept = tokens.lookup(tokens.authenticate(token).accessor)
    assert (kept.expires_at, kept.max_expires_at, kept.lifetime, kept.seconds_left(clock.now())) == (
        None,
        None,
        None,
        0,
    )
    assert tokens.lookup_token(token) == kept
    assert tokens.revoke_kind("root") == 1
    assert not is_good(tokens, token)


def test_making_and_revoking_by_kind_is_recorded(database: Database, tokens: Tokens) -> None:
    """What no request asked for is in the audit log too, in the same transaction."""
    tokens.make("bootstrap", ("root",), HOUR)
    tokens.make("bootstrap", ("root",), HOUR)
    assert tokens.revoke_kind("bootstrap") == 2
    assert tokens.revoke_kind("bootstrap") == 0
    with database.read() as tx:
        events = tx.exec_driver_sql("SELECT action, detail FROM audit_events").all()
    assert sorted(tuple(event) for event in events) == [
        ("token.create", '{"kind":"bootstrap"}'),
        ("token.create", '{"kind":"bootstrap"}'),
        ("token.revoke", '{"count":2}'),
    ]


def test_a_token_is_good_in_every_process(database: Database, tokens: Tokens, clock: FrozenClock) -> None:
    """Replicas share the key of the digests, and nothing else."""
    other = Database.open(database.url.render_as_string(hide_password=False))
    try:
        assert is_good(open_tokens(other, clock), add(database, tokens).token)
    finally:
        other.close()


def test_tokens_that_ended_long_ago_are_forgotten(database: Database, tokens: Tokens, clock: FrozenClock) -> None:
    """Rows of dead tokens do not pile up; those that live, or that never end, stay."""
    database.write(lambda tx: [tokens.add(tx, new()) for _ in range(510)])
    root = tokens.make("root", ("root",), None)
    clock.advance(timedelta(days=2))
    living = add(database, tokens)
    counts = [database.write(lambda tx: tokens.forget(tx, ended_for=timedelta(days=1))) for _ in range(3)]
    assert counts == [500, 10, 0]
    assert is_good(tokens, living.token)
    assert is_good(tokens, root)
