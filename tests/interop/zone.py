"""A DNS server for all names, whose TXT records are files: clients' hooks write and delete them."""

from pathlib import Path

from tests.acme_server.validation.servers import DnsServer

_HOOK = """#!/bin/sh
# Called by lego as: hook present|cleanup NAME. VALUE
set -eu
file="{folder}/${{2%.}}"
case "$1" in
  present) echo "$3" >> "$file" ;;
  cleanup) rm -f "$file" ;;
esac
"""


class Zone(DnsServer):
    """Every name is 127.0.0.1; the TXT records of a name are the lines of the file of that name in `folder`."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        super().__init__()
        self.wildcard_address = "127.0.0.1"

    def _records(self, name: str, kind: str) -> list[str]:
        file = self.folder / name.lower()
        if kind == "TXT" and file.exists():
            return [f'"{line}"' for line in file.read_text().splitlines()]
        return super()._records(name, kind)

    @property
    def resolver(self) -> str:
        """Its address and port, as the configuration names it."""
        return f"{self.address[0]}:{self.address[1]}"

    def hook(self) -> Path:
        """Make a program that writes and deletes records, as lego calls it."""
        program = self.folder.with_name("dns-hook")
        program.write_text(_HOOK.format(folder=self.folder))
        program.chmod(0o755)
        return program
