"""`bcd live` or `bcd call` in a process of its own, and what it prints."""

import os
import re
import signal
import subprocess
import sys


class Command:
    """A running `bcd`, and what it prints."""

    def __init__(self, *arguments):
        self.process = subprocess.Popen(
            [sys.executable, "-u", "-c", "from bcdcodec.cli.main import main; main()", *arguments],
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            text=True,
            env=os.environ | {"OMP_NUM_THREADS": "1"},
        )

    def line(self, pattern):
        """The first group of the next line that matches."""
        seen = []
        for text in self.process.stdout:
            seen.append(text)
            if found := re.search(pattern, text):
                return found[1] if found.groups() else found[0]
        raise AssertionError(f"bcd ended without {pattern!r}: {seen}")

    def __enter__(self):
        return self

    def __exit__(self, *exception):
        if self.process.poll() is None:
            self.process.send_signal(signal.SIGINT)
            self.process.wait(20)
