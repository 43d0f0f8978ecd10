"""One budget of time for a whole validation, so that no slow answer holds it longer."""

from acme_server.problems import ProblemType
from acme_server.validation.failure import ValidationFailed
from pki.clock import SystemClock


class Deadline:
    """Ends `seconds` after it is made. Sockets wait in real time, so this is the machine's own monotonic clock."""

    def __init__(self, seconds: float) -> None:
        self._seconds = seconds
        self._clock = SystemClock()
        self._end = self._clock.monotonic() + seconds

    def remaining(self, problem_type: ProblemType = ProblemType.CONNECTION) -> float:
        """Return the seconds that are left, always more than zero.

        Raises:
            ValidationFailed: of `problem_type`: there are none.
        """
        left = self._end - self._clock.monotonic()
        if left <= 0:
            raise self.passed(problem_type)
        return left

    def passed(self, problem_type: ProblemType = ProblemType.CONNECTION) -> ValidationFailed:
        """Return the failure that says that the time is up."""
        return ValidationFailed(problem_type, f"the validation did not end within {self._seconds:g} s")
