"""Look for secrets where none may be: in every spelling that a store, a log or an environment might give them."""

import base64
import binascii
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path

from tests.service import processes_of

_GROUP, _CHARACTERS = 3, 4
"""Base64 writes three octets as four characters."""


def spellings(secret: bytes) -> dict[str, bytes]:
    """Return the octets as they are, in base64 at each alignment, in hex, and as text in UTF-16."""
    found = {"raw": secret, "hex": binascii.hexlify(secret), "HEX": binascii.hexlify(secret).upper()}
    for offset in range(_GROUP):
        whole = base64.b64encode(bytes(offset) + secret)
        first, last = -(-8 * offset // 6), 8 * (offset + len(secret)) // 6
        middle = whole[first:last]  # those characters that no octet before or behind has a share in
        found[f"base64+{offset}"] = middle
        found[f"base64url+{offset}"] = middle.translate(bytes.maketrans(b"+/", b"-_"))
    if secret.isascii():
        text = secret.decode()
        found |= {"utf-16-le": text.encode("utf-16-le"), "utf-16-be": text.encode("utf-16-be")}
    return found


@dataclass
class Search:
    """Secrets by what they are; `hits` says which was found where, in which spelling."""

    secrets: dict[str, bytes] = field(default_factory=dict)

    def add(self, what: str, secret: str | bytes) -> str:
        """Look for this one too; return it as text where it is text."""
        octets = secret.encode() if isinstance(secret, str) else secret
        assert len(octets) >= 12, "what is short is found by chance"
        self.secrets[what] = octets
        return secret if isinstance(secret, str) else ""

    def hits(self, places: Mapping[str, bytes]) -> list[str]:
        """Return `what: spelling in place` for each that is there."""
        wanted = [
            (what, name, form) for what, secret in self.secrets.items() for name, form in spellings(secret).items()
        ]
        return sorted(
            f"{what}: {name} in {place}"
            for place, content in places.items()
            for what, name, form in wanted
            if form in content
        )


def files_below(*folders: Path, leave_out: Sequence[Path] = ()) -> dict[str, bytes]:
    """Return the contents of all files there, by their paths."""
    paths = [path for folder in folders for path in ([folder] if folder.is_file() else sorted(folder.rglob("*")))]
    return {str(path): path.read_bytes() for path in paths if path.is_file() and path not in leave_out}


def processes(pid: int) -> dict[str, bytes]:
    """Return environment and command line of a process and all below it."""
    return dict(_of_processes([pid, *processes_of(pid)]))


def _of_processes(pids: list[int]) -> Iterator[tuple[str, bytes]]:
    for pid in pids:
        for name in ("environ", "cmdline"):
            yield f"{name} of {pid}", Path(f"/proc/{pid}/{name}").read_bytes()
