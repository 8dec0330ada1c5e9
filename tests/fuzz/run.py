"""Coverage-guided fuzzing: `python tests/fuzz/run.py --seconds 60 [TARGET...]`; needs the extra `fuzz`.

Every target runs in a process of its own, with its corpus in out/fuzz/TARGET. An exception that is no BcdError, more
than 5 s of processor time or more than 1 GiB for one input is a finding: the input is kept in out/fuzz as TARGET-...,
and the exit code is 1. A kind of finding that is closed gets its input into tests/fuzz/found, which
tests/test_fuzz_targets.py runs.
"""

from __future__ import annotations

import argparse
import re
import subprocess
import sys
import time
from pathlib import Path

HERE = Path(__file__).resolve().parent
OUT = HERE.parent.parent / "out/fuzz"
SECONDS_AN_INPUT = 5  # of processor time
HANG_SECONDS = 120  # libFuzzer stops an input after them, by the clock: a busy machine may be slow
MEMORY_MIB = 1024  # of the process, Python and its libraries included


def fuzz(name: str, libfuzzer: list[str]) -> None:
    """Run one target in this process, which ends in it."""
    import atheris

    with atheris.instrument_imports(include=["bcdcodec"]):
        sys.path.insert(0, str(HERE))
        from targets import TARGETS

        from bcdcodec.errors import BcdError

    target = TARGETS[name]
    corpus = OUT / name
    corpus.mkdir(parents=True, exist_ok=True)
    for i, seed in enumerate(target.seeds()):
        (corpus / f"seed-{i}").write_bytes(seed)

    def one_input(data: bytes) -> None:
        started = time.process_time()
        try:
            target.run(data)
        except BcdError as error:
            assert "\n" not in str(error), "the message of an error is one line"
        used = time.process_time() - started
        assert used < SECONDS_AN_INPUT, f"{used:.1f} s of processor time"

    arguments = [
        sys.argv[0],
        *libfuzzer,
        f"-max_len={target.most_bytes}",
        f"-artifact_prefix={OUT / name}-",
        str(corpus),
    ]
    atheris.Setup(arguments, one_input)
    atheris.Fuzz()


def main() -> None:
    """Run the targets one after the other; print executions and findings of each."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("targets", nargs="*")
    parser.add_argument("--seconds", type=int, default=60, help="a target")
    parser.add_argument("--here", metavar="TARGET", help="this one, in this process")
    given = parser.parse_args()
    if given.here:
        limits = [f"-max_total_time={given.seconds}", f"-timeout={HANG_SECONDS}", f"-rss_limit_mb={MEMORY_MIB}"]
        fuzz(given.here, [*limits, "-print_final_stats=1", "-verbosity=1"])
        return
    sys.path.insert(0, str(HERE))
    from targets import TARGETS

    failed = False
    for name in given.targets or TARGETS:
        command = [sys.executable, __file__, "--here", name, "--seconds", str(given.seconds)]
        done = subprocess.run(command, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True, check=False)
        executed = re.findall(r"(?:number_of_executed_units: |^#)(\d+)", done.stdout, re.MULTILINE)
        print(
            f"{name}: {executed[-1] if executed else 0} executions, {'a finding' if done.returncode else 'no finding'}"
        )
        if done.returncode:
            failed = True
            lines = done.stdout.splitlines()
            print("\n".join(line for line in lines if not re.match(r"#\d+\s", line))[-3000:])
        sys.stdout.flush()
    sys.exit(failed)


if __name__ == "__main__":
    main()
