"""The `bcd` command: its verbs, imported when they are used, and its error messages."""

from __future__ import annotations

import importlib
import signal
import sys
import threading

import click

from bcdcodec import __version__
from bcdcodec.errors import BcdError
from bcdcodec.memory import keep_freed_memory

# Verb: the module and function that define it, in the order of --help.
VERBS = {
    "encode": "bcdcodec.cli.convert:encode",
    "decode": "bcdcodec.cli.convert:decode",
    "info": "bcdcodec.cli.report:info",
    "verify": "bcdcodec.cli.report:verify",
    "repair": "bcdcodec.cli.repair:repair",
    "models": "bcdcodec.cli.report:models",
    "demo": "bcdcodec.cli.convert:demo",
    "live": "bcdcodec.cli.live:live",
    "call": "bcdcodec.cli.live:call_",
    "generate": "bcdcodec.cli.generate:generate",
    "data": "bcdcodec.cli.data:data",
    "train": "bcdcodec.cli.train:train",
    "export": "bcdcodec.cli.train:export",
    "bench": "bcdcodec.cli.bench:bench",
    "compare": "bcdcodec.cli.bench:compare",
    "eval": "bcdcodec.cli.evaluate:evaluate",
}
TERMINATING = [getattr(signal, name) for name in ("SIGTERM", "SIGHUP") if hasattr(signal, name)]
INTERRUPTED = 130  # 128 + SIGINT, as shells report it


class LazyGroup(click.Group):
    """A group that imports a verb's module only when that verb, or the list of all, is asked for."""

    def list_commands(self, ctx: click.Context) -> list[str]:
        return list(VERBS)

    def get_command(self, ctx: click.Context, name: str) -> click.Command | None:
        if name not in VERBS:
            return None
        module, function = VERBS[name].split(":")
        return getattr(importlib.import_module(module), function)


@click.group(cls=LazyGroup, context_settings={"help_option_names": ["-h", "--help"]})
@click.version_option(__version__, prog_name="bcd")
def cli() -> None:
    """Talking-head video at about 4 kbit/s: encode to .bcd, decode, drive another face."""


def main() -> None:
    """Run `bcd` and exit: 0, 1 for an error (one line on stderr), 2 for wrong usage, 130 when interrupted."""
    keep_freed_memory()
    # As an interrupt, so that partial files are removed.
    before = {number: signal.signal(number, _terminate) for number in TERMINATING if _in_main_thread()}
    try:
        # Without standalone mode click raises errors instead of printing them, and returns a verb's exit code.
        sys.exit(cli.main(prog_name="bcd", standalone_mode=False))
    except click.ClickException as error:
        error.show()
        sys.exit(error.exit_code)
    except (click.Abort, KeyboardInterrupt):
        click.echo("bcd: interrupted", err=True)
        sys.exit(INTERRUPTED)
    except BcdError as error:
        _fail(str(error))
    except OSError as error:
        _fail(f"{error.filename}: {error.strerror}" if error.filename else error.strerror or str(error))
    except MemoryError:
        _fail("not enough memory")
    finally:
        for number, handler in before.items():
            signal.signal(number, handler)


def _in_main_thread() -> bool:
    return threading.current_thread() is threading.main_thread()


def _terminate(number: int, _frame) -> None:
    sys.exit(128 + number)


def _fail(message: str) -> None:
    click.echo(f"bcd: error: {' '.join(message.split())}", err=True)
    sys.exit(1)
