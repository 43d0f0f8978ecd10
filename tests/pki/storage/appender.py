"""A program that appends rows until it is killed: `python -m tests.pki.storage.appender URL PREFIX THREADS SECONDS`.

It prints the name of each row after the append has returned, and the longest wait in seconds at the end.
"""

import sys
import threading
import time

from pki.storage.database import Database
from tests.pki.storage.rows import setting


def main(url: str, prefix: str, threads: int, seconds: float) -> None:
    """Append from `threads` threads for `seconds`."""
    database = Database.open(url)
    end = time.monotonic() + seconds
    longest = [0.0] * threads
    output = threading.Lock()

    def append(thread: int) -> None:
        number = 0
        while time.monotonic() < end:
            name = f"{prefix}-{thread}-{number}"
            start = time.monotonic()
            database.append(setting(name))
            longest[thread] = max(longest[thread], time.monotonic() - start)
            with output:
                sys.stdout.write(f"{name}\n")
                sys.stdout.flush()
            number += 1

    workers = [threading.Thread(target=append, args=(thread,)) for thread in range(threads)]
    for worker in workers:
        worker.start()
    for worker in workers:
        worker.join()
    database.close()
    sys.stdout.write(f"longest {max(longest)}\n")


if __name__ == "__main__":
    main(sys.argv[1], sys.argv[2], int(sys.argv[3]), float(sys.argv[4]))
