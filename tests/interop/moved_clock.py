"""A time of day that moves under programs while they run: the service's and those of its clients alike.

It reaches what takes the time from the C library: Python, openssl, OpenSSH. Caddy, as Go builds it, asks the kernel by
itself. Only the time of day moves; what measures durations, such as a pause between two duties, takes as long as ever.
"""

import struct
import subprocess
from collections.abc import Mapping
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest

_SOURCE = Path(__file__).parents[1] / "cli/clockshift.c"


class MovedClock:
    """Ahead of the machine's clock by `ahead`, for all processes that run with `environment`."""

    def __init__(self, folder: Path) -> None:
        library, self._file = folder / "clockshift.so", folder / "ahead"
        subprocess.run(["gcc", "-shared", "-fPIC", "-O1", "-o", library, _SOURCE, "-ldl"], check=True)
        self.ahead = timedelta()
        self._file.touch()
        self._write()
        self.environment: Mapping[str, str] = {
            "LD_PRELOAD": str(library),
            "SEALWARD_TEST_CLOCK_FILE": str(self._file),
        }

    @property
    def now(self) -> datetime:
        """The time of day."""
        return datetime.now(UTC) + self.ahead

    def forward(self, span: timedelta) -> None:
        """Move it on, in every process at the same moment."""
        self.ahead += span
        self._write()

    def forward_to(self, moment: datetime) -> None:
        """Move it on, unless it is later already."""
        self.forward(max(moment - self.now, timedelta()))

    def _write(self) -> None:
        with self._file.open("r+b", buffering=0) as file:  # in place, and at once: it is mapped
            file.write(struct.pack("=q", int(self.ahead.total_seconds())))

    def rule(self, monkeypatch: pytest.MonkeyPatch) -> None:
        """Let every process that the test starts from now on go by this clock."""
        for name, value in self.environment.items():
            monkeypatch.setenv(name, value)
