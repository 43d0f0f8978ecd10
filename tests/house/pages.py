"""The pages of the documentation, and the code blocks in them.

A block whose fence says `sh test` is run by `test_docs`; one that says `sh` alone is shown, and the commands in it are
checked against the code.
"""

import re
from collections.abc import Iterator
from dataclasses import dataclass
from functools import cache
from pathlib import Path

from tests.house.tree import ROOT, committed

_FENCE = re.compile(r"^```(?P<info>[^\n`]*)\n(?P<text>.*?)^```$", re.MULTILINE | re.DOTALL)
_INLINE = re.compile(r"`([^`\n]+)`")


@dataclass(frozen=True)
class Page:
    """A Markdown page: its path from the root of the tree, and its text."""

    path: str
    text: str

    def blocks(self, *infos: str) -> list[str]:
        """Return the code blocks whose fence says one of `infos`."""
        return [found["text"] for found in _FENCE.finditer(self.text) if found["info"].strip() in infos]

    @property
    def prose(self) -> str:
        """The page without its code blocks."""
        return _FENCE.sub("", self.text)

    def commands(self, program: str) -> Iterator[list[str]]:
        """Yield each call of `program` in shell blocks and in `inline code`, as words."""
        lines = [line for block in self.blocks("sh", "sh test") for line in block.replace("\\\n", " ").splitlines()]
        for line in (*lines, *_INLINE.findall(self.prose)):
            words = line.split("#", 1)[0].replace(";", " ; ").split()
            while words and (words[0] in {"sudo", "exec"} or re.match(r"^[A-Z_]+=", words[0])):
                words.pop(0)
            if words[:1] == [program] and len(words) > 1:
                yield words[1:]


@cache
def pages() -> tuple[Page, ...]:
    """Return every committed Markdown page."""
    found = [path for path in committed() if path.suffix == ".md"]
    return tuple(Page(str(path.relative_to(ROOT)), path.read_text(encoding="utf-8")) for path in found)


def target(page: Page, link: str) -> Path:
    """Return the file that a relative link of `page` leads to."""
    return (ROOT / page.path).parent / link.partition("#")[0]
