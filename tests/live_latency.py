"""Measures `bcd live` in Chromium: `python tests/live_latency.py CLIP`.

The camera's picture jumps sideways and back, once a second. A script in the page reads the camera's canvas and the
other side's, coarsely, at every frame of the display: the time from a jump in the one to that in the other is the
latency from the capture of a picture to the drawing of the decoded one. Prints it with the CPU time of both processes
and the machine's load.
"""

import asyncio
import os
import sys
import tempfile
import time
from pathlib import Path

import numpy as np
from browser import Browser, write_y4m
from test_live import Command

from bcdcodec.video import read_pictures

JUMP, EVERY = 14, 25  # pixels to either side; frames from a jump to the next
SECONDS = 20.0
EXPECTED = 300  # ms, about, to tell the sign
# Luma of both canvases at 16x16, over time.
SAMPLER = """(() => {
  const small = document.createElement("canvas").getContext("2d", {willReadFrequently: true});
  small.canvas.width = small.canvas.height = 16;
  const luma = canvas => {
    small.drawImage(canvas, 0, 0, 16, 16);
    return Array.from(small.getImageData(0, 0, 16, 16).data.filter((_, i) => i % 4 === 1));
  };
  window.samples = [];
  const sample = () => {
    samples.push([performance.now(), luma(own.canvas), luma(other.canvas)]);
    requestAnimationFrame(sample);
  };
  sample();
})()"""


def jumping(picture, count):
    """Frames uint8 [count, h, w, 3] of a picture that jumps sideways every EVERY frames."""
    wide = np.pad(picture, ((0, 0), (JUMP, JUMP), (0, 0)), mode="edge")
    width = picture.shape[1]
    return np.stack([wide[:, side : side + width] for side in (2 * JUMP * (i // EVERY % 2) for i in range(count))])


def strongest(pictures):
    """The first principal component of pictures [t, n] over time [t]: the jumps are what changes most."""
    centred = pictures - pictures.mean(0)
    return np.linalg.svd(centred, full_matrices=False)[0][:, 0]


def crossings(times, values):
    """Times at which values cross the middle between their extremes, and in which direction."""
    high = values > (np.quantile(values, 0.05) + np.quantile(values, 0.95)) / 2
    at = np.flatnonzero(high[1:] != high[:-1]) + 1
    return times[at], high[at]


def latencies(samples):
    """Milliseconds from each jump of the camera's picture to the same jump of the other side's."""
    times = np.array([at for at, _, _ in samples], float)
    own, other = (strongest(np.array([each[i] for each in samples], float)) for i in (1, 2))
    jumps, up = crossings(times, own)
    seen, seen_up = crossings(times, other)
    # A principal component has any sign.
    same = np.corrcoef(own, np.interp(times + EXPECTED, times, other))[0, 1] > 0
    found = []
    for at, direction in zip(jumps, up, strict=True):
        later = seen[(seen > at) & (seen_up == (direction if same else not direction))]
        if len(later) and later[0] - at < 900:
            found.append(later[0] - at)
    return np.array(found)


def cpu_seconds(pid):
    fields = Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()
    return (int(fields[11]) + int(fields[12])) / os.sysconf("SC_CLK_TCK")


async def measure(address, pid, camera):
    async with Browser(camera) as browser:
        await browser.open(address)
        await browser.wait("document.body.dataset.pictures > 30")
        first = await browser.run("document.body.dataset.first - document.body.dataset.opened")
        await browser.run(SAMPLER)
        begun, cpu = time.monotonic(), cpu_seconds(pid)
        pictures = await browser.run("+document.body.dataset.pictures")
        await asyncio.sleep(SECONDS)
        seconds = time.monotonic() - begun
        shown = (await browser.run("+document.body.dataset.pictures") - pictures) / seconds
        used = (cpu_seconds(pid) - cpu) / seconds
        samples = await browser.run("samples")
        await browser.screenshot(Path(tempfile.gettempdir()) / "live_latency.png")
        return first, shown, used, latencies(samples), (samples[-1][0] - samples[0][0]) / len(samples)


def main(clip):
    picture = read_pictures(clip, None, 256)[0]
    with tempfile.TemporaryDirectory() as folder:
        camera = write_y4m(Path(folder) / "jumping.y4m", jumping(picture, 4 * EVERY))
        with Command("live", "--no-browser") as command:
            address = command.line(r"open (http://127\S+)")
            first, shown, used, found, sampled = asyncio.run(measure(address, command.process.pid, camera))
    load = Path("/proc/loadavg").read_text().split()[0]
    print(
        f"latency: median {np.median(found):.0f} ms, 90 % below {np.quantile(found, 0.9):.0f} ms; {len(found)} jumps, "
        f"read every {sampled:.0f} ms\nfirst picture {first:.0f} ms after the page has connected\n"
        f"{shown:.1f} pictures a second; bcd takes {used:.2f} CPU seconds a second; load of the machine {load}"
    )


if __name__ == "__main__":
    main(sys.argv[1])
