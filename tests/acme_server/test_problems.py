"""Problem documents, and the house's errors as problems."""

import inspect
from collections.abc import Iterator

import pytest

from acme_server.problems import TRANSLATIONS, Problem, ProblemType, Subproblem, from_error
from pki import errors


def _classes() -> Iterator[type[errors.SealwardError]]:
    for _, item in inspect.getmembers(errors, inspect.isclass):
        if issubclass(item, errors.SealwardError) and item is not errors.SealwardError:
            yield item


def test_a_problem_document_has_what_the_standard_asks() -> None:
    """RFC 8555 6.7: type, detail and status; subproblems with their identifiers; algorithms where they belong."""
    part = Subproblem(ProblemType.REJECTED_IDENTIFIER, "not ours", {"type": "dns", "value": "a.example"})
    problem = Problem(ProblemType.REJECTED_IDENTIFIER, "some names are refused", subproblems=[part])
    assert problem.to_document() == {
        "type": "urn:ietf:params:acme:error:rejectedIdentifier",
        "detail": "some names are refused",
        "status": 400,
        "subproblems": [
            {
                "type": "urn:ietf:params:acme:error:rejectedIdentifier",
                "detail": "not ours",
                "identifier": {"type": "dns", "value": "a.example"},
            }
        ],
    }
    bad = Problem(ProblemType.BAD_SIGNATURE_ALGORITHM, "no", algorithms=("ES256",)).to_document()
    assert bad["algorithms"] == ["ES256"]
    terms = Problem(ProblemType.USER_ACTION_REQUIRED, "agree", instance="https://ca.example/terms").to_document()
    assert (terms["instance"], terms["status"]) == ("https://ca.example/terms", 403)


@pytest.mark.parametrize("item", list(_classes()), ids=lambda item: item.__name__)
def test_every_error_of_the_house_has_its_line(item: type[errors.SealwardError]) -> None:
    """No class of `pki.errors` is left to the bare 500."""
    assert item in TRANSLATIONS


def test_an_unlisted_error_is_a_bare_500() -> None:
    """What no line covers tells the client nothing."""
    problem = from_error(errors.SealwardError("inner matters"))
    assert (problem.type, problem.status) == (ProblemType.SERVER_INTERNAL, 500)
    assert "inner" not in problem.detail


def test_a_subclass_is_answered_as_its_nearest_listed_class() -> None:
    """A finer error keeps the meaning of what it is a kind of."""

    class Gone(errors.NotFound):
        pass

    assert from_error(Gone("no such order")).status == 404


@pytest.mark.parametrize(
    ("error", "problem_type", "status"),
    [
        (errors.Malformed("x"), ProblemType.MALFORMED, 400),
        (errors.Denied("x"), ProblemType.UNAUTHORIZED, 403),
        (errors.NotFound("x"), ProblemType.MALFORMED, 404),
        (errors.Conflict("x"), ProblemType.MALFORMED, 409),
        (errors.NotReady("x"), ProblemType.ORDER_NOT_READY, 403),
        (errors.LintFailed(["x"]), ProblemType.SERVER_INTERNAL, 503),
        (errors.Rejected("x", "badCSR"), ProblemType.BAD_CSR, 400),
        (errors.Rejected("x", "weakKey"), ProblemType.BAD_CSR, 400),
        (errors.Rejected("x", "alreadyRevoked"), ProblemType.ALREADY_REVOKED, 400),
        (errors.Rejected("x", "rejectedIdentifier"), ProblemType.REJECTED_IDENTIFIER, 400),
        (errors.Rejected("x", "something else"), ProblemType.UNAUTHORIZED, 403),
    ],
    ids=lambda item: getattr(item, "code", type(item).__name__) if isinstance(item, Exception) else str(item),
)
def test_errors_keep_their_meaning(error: errors.SealwardError, problem_type: ProblemType, status: int) -> None:
    """Each class is the problem type and status that a client can act on, and keeps its message."""
    problem = from_error(error)
    assert (problem.type, problem.status) == (problem_type, status)
    assert "x" in problem.detail


@pytest.mark.parametrize("item", [errors.Sealed, errors.HsmFailure, errors.DatabaseUnavailable, errors.BadClock])
def test_faults_of_the_house_ask_to_try_again_and_tell_nothing(item: type[errors.SealwardError]) -> None:
    """503 with Retry-After; what the operator reads (hosts, token labels) stays inside."""
    problem = from_error(item("postgres.inner:5432 refused", advice="start it"))
    assert (problem.status, problem.headers["Retry-After"]) == (503, "5")
    assert "inner" not in problem.detail
    assert "start" not in problem.detail


def test_a_rate_limit_says_when_to_come_back() -> None:
    """RFC 8555 6.6: rateLimited with Retry-After."""
    problem = from_error(errors.RateLimited("slow down", retry_after=77))
    assert (problem.type, problem.status) == (ProblemType.RATE_LIMITED, 429)
    assert problem.headers == {"Retry-After": "77"}


def test_rejections_of_several_names_are_subproblems() -> None:
    """RFC 8555 6.7.1: each name at fault has its own, addresses with their type."""
    parts = [
        errors.Rejected("not ours", "rejectedIdentifier", identifier="a.example"),
        errors.Rejected("not ours either", "rejectedIdentifier", identifier="ip:192.0.2.1"),
    ]
    problem = from_error(errors.Rejected("some names are refused", "rejectedIdentifier", subproblems=parts))
    found = problem.to_document()["subproblems"]
    assert [item["identifier"] for item in found] == [
        {"type": "dns", "value": "a.example"},
        {"type": "ip", "value": "192.0.2.1"},
    ]
