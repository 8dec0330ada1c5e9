"""`bcd live` and `bcd call`."""

from __future__ import annotations

import sys

import click

from bcdcodec.cli.convert import DEVICE
from bcdcodec.errors import BcdError

# From which a thread that waits for the interpreter may take it from another. With Python's own 5 ms the threads of a
# call hold each other up: a third more delay, and frames left out.
SWITCH_SECONDS = 0.0005

MODEL = click.option("--model", default="faces", show_default=True, help="A shipped model, or the folder of one.")
PORT = click.option(
    "--port", type=click.IntRange(0, 65535), default=0, help="Of the page on this machine. [default: a free one]"
)
KBPS = click.option(
    "--kbps", type=click.FloatRange(0.5, 20), help="Rate of the motion. [default: the model's own, at most 3]"
)
NO_BROWSER = click.option("--no-browser", is_flag=True, help="Do not open the page, print its address only.")


@click.command()
@MODEL
@KBPS
@PORT
@NO_BROWSER
@DEVICE
def live(model: str, kbps: float | None, port: int, no_browser: bool, device: str) -> None:
    """Show in a browser what the camera looks like at a few kbit/s.

    Opens a local page: the camera beside what another person would see of it, with rate, latency and frame rate.
    Another face, from a photo or a .bcd file, can be shown instead, and the stream recorded. Needs the extra live.
    """
    run_live = _imported().run_live
    _run(run_live(_session(model, device), port, kbps, not no_browser, click.echo))


@click.command("call")
@click.argument("address", required=False, metavar="[HOST:PORT/CODE]")
@click.option(
    "--call-port",
    type=click.IntRange(0, 65535),
    default=0,
    help="TCP port that waits for the other side. [default: a free one]",
)
@MODEL
@KBPS
@PORT
@NO_BROWSER
@DEVICE
def call_(
    address: str | None, call_port: int, model: str, kbps: float | None, port: int, no_browser: bool, device: str
) -> None:
    """Call another machine, picture and sound in less than 10 kbit/s.

    Without an address it waits, and prints the one with which the other side joins. Both machines must reach each other
    directly; no server is involved. Needs the extra live.
    """
    if address is not None:
        from bcdcodec.live.signalling import parse_address

        parse_address(address)  # before the model is loaded
    run_call = _imported().run_call
    _run(run_call(_session(model, device), address, port, call_port, kbps, not no_browser, click.echo))


def _imported():
    try:
        from bcdcodec.live import run
    except ImportError as error:
        raise BcdError(
            f"bcd live and bcd call need aiohttp and aiortc ({error.name or error} is missing): "
            "pip install 'bcdcodec[live]'"
        ) from None
    return run


def _session(model: str, device: str):
    import torch

    from bcdcodec.coding.session import open_session
    from bcdcodec.device import pick_device
    from bcdcodec.model_folder import open_model
    from bcdcodec.stream.causal_motion import check_live

    torch.set_num_threads(1)  # of each of the two threads that code and decode
    sys.setswitchinterval(SWITCH_SECONDS)
    session = open_session(open_model(model), pick_device(device))
    check_live(session)
    return session


def _run(running) -> None:
    import asyncio

    try:
        asyncio.run(running)
    except KeyboardInterrupt:
        click.echo("ended")
