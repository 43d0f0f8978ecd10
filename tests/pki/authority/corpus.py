"""What a collection of bad certificates is made of."""

from collections.abc import Callable
from dataclasses import dataclass, field

from tests.pki.authority.certificates import Parts

Make = Callable[[], Parts]


@dataclass(frozen=True)
class Bad:
    """One bad certificate; `finding` is the first word of ours, `seen_by` says who else sees it."""

    name: str
    finding: str
    seen_by: frozenset[str]
    make: Make


@dataclass
class Corpus:
    """Bad certificates of one sort."""

    all: list[Bad] = field(default_factory=list)

    def bad(self, finding: str, *seen_by: str) -> Callable[[Make], Make]:
        """Take in the certificate that the decorated function makes."""

        def enter(make: Make) -> Make:
            self.add(make.__name__, finding, make, *seen_by)
            return make

        return enter

    def add(self, name: str, finding: str, make: Make, *seen_by: str) -> None:
        """Take in a certificate."""
        self.all.append(Bad(name, finding, frozenset(seen_by), make))
