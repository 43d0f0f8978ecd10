"""How a validation fails."""

from acme_server.problems import Problem, ProblemType


class ValidationFailed(Exception):
    """The challenge is not met, for a reason outside: what the client reads in the challenge's `error`.

    The detail never repeats what the other side sent: a client could otherwise read, through this server, what
    services inside the network answer.
    """

    def __init__(self, problem_type: ProblemType, detail: str) -> None:
        super().__init__(detail)
        self.problem_type = problem_type
        self.detail = detail

    def to_problem(self) -> Problem:
        """Return the failure as a problem (RFC 8555 8)."""
        return Problem(self.problem_type, self.detail)
