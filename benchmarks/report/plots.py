"""Plots of a report as inline SVG whose lines and letters take the colour of the page's text."""

from __future__ import annotations

import io
import re

import numpy as np

from bcdcodec.benchmarks.report.summary import HEADLINES, MEASURES
from bcdcodec.benchmarks.rows import BCD, ClipRows

INK = "#010203"  # stands for the page's text colour until the SVG is written
COLOURS = {BCD: "#d62728", "x264": "#8c8c8c", "x265": "#1f77b4", "svtav1": "#2ca02c", "vp9": "#9467bd"}
CURVED = (
    "psnr",
    "feature_distance",
    "lpips",
    "dists",
    "sface_cosine",
    "dlib_distance",
    "mouth.slope",
    "right eye.slope",
)
FRAME_RATE = 25  # Hz, of the axis of seconds
CLIPS_SHOWN = 6


def plots(report: dict, clips: list[ClipRows]) -> dict[str, str]:
    """SVG by name: `curves`, `frame_bits`, `code_usage`. Raises ImportError without matplotlib."""
    found = {"frame_bits": _frame_bits(clips), "code_usage": _code_usage(report["code_usage"]["counts"])}
    if len(report["curves"]) > 1:
        found["curves"] = _curves(report["curves"])
    return found


def _figure(rows: int, columns: int, width: float, height: float):
    """A matplotlib figure and its axes, in INK on nothing."""
    from matplotlib import rc_context
    from matplotlib.figure import Figure

    keys = ("text.color", "axes.edgecolor", "axes.labelcolor", "xtick.color", "ytick.color")
    with rc_context({key: INK for key in keys} | {"font.size": 9}):
        figure = Figure(figsize=(width, height), layout="constrained")
        axes = figure.subplots(rows, columns, squeeze=False)
    for axis in axes.flat:
        axis.patch.set_alpha(0)
        axis.spines[["top", "right"]].set_visible(False)
    figure.patch.set_alpha(0)
    return figure, axes


def _svg(figure, name: str) -> str:
    """A figure as SVG without XML head, with its own ids, coloured by the page."""
    from matplotlib import rc_context

    out = io.StringIO()
    with rc_context({"svg.fonttype": "none", "svg.hashsalt": name}):
        figure.savefig(out, format="svg", metadata={"Date": None, "Creator": None})
    text = out.getvalue()
    text = text[text.index("<svg") :].replace(INK, "currentColor")
    text = re.sub(r"<metadata>.*?</metadata>", "", text, flags=re.DOTALL)
    text = re.sub(r'\bid="', f'id="{name}-', text)
    text = re.sub(r'(href="#|url\(#)', rf"\g<1>{name}-", text)
    # The size in points would fix the width; the view box lets the page choose it.
    head, rest = text.split(">", 1)
    head = re.sub(r'\s(width|height)="[^"]*"', "", head)
    return f'{head} role="img" aria-label="{name}">{rest}'


def _curves(points: list[dict]) -> str:
    shown = [m for m in CURVED if any(m in p for p in points)]
    figure, axes = _figure(-(-len(shown) // 2), 2, 8.4, 3.4 * -(-len(shown) // 2))
    biggest = max(p["side"] for p in points)
    for axis, measure in zip(axes.flat, shown):
        for codec, side in dict.fromkeys((p["codec"], p["side"]) for p in points):
            line = [p for p in points if (p["codec"], p["side"]) == (codec, side) and measure in p]
            if not line:
                continue
            rates, own, full = [p["kbps"] for p in line], codec == BCD, side == biggest
            style = {"color": COLOURS.get(codec, "#ff7f0e"), "linewidth": 1.2, "linestyle": "-" if full else "--"}
            marker = {"marker": "*" if own else "o", "markersize": 11 if own else 4}
            name = codec if full else f"{codec}, coded at {side}"
            axis.plot(rates, [p[measure]["value"] for p in line], label=name, **style, **marker)
            held = [p[measure]["held"] for p in line]
            if own and None not in held:
                axis.plot(rates, held, label="held reference", **(style | {"linestyle": ":"}), marker="x", markersize=4)
        axis.set_xscale("log")
        ticks = [t for t in (1, 2, 3, 4, 6, 8, 12, 16, 24, 32, 64) if axis.get_xlim()[0] <= t <= axis.get_xlim()[1]]
        axis.set_xticks(ticks, [str(t) for t in ticks])
        axis.minorticks_off()
        axis.set_xlabel("kbit/s, whole")
        axis.set_ylabel(f"{HEADLINES[measure].label} {HEADLINES[measure].unit.strip()}".rstrip())
        if measure in MEASURES and MEASURES[measure][3] < 0:
            axis.invert_yaxis()  # up is better everywhere
    for axis in axes.flat[len(shown) :]:
        axis.set_visible(False)
    handles, labels = axes.flat[0].get_legend_handles_labels()
    figure.legend(handles, labels, loc="outside lower center", ncols=3, frameon=False, fontsize=8, labelcolor=INK)
    return _svg(figure, "curves")


def _frame_bits(clips: list[ClipRows]) -> str:
    figure, axes = _figure(1, 1, 8.4, 2.8)
    axis = axes[0, 0]
    for clip in sorted(clips, key=lambda c: -len(c.frame_bits))[:CLIPS_SHOWN]:
        axis.plot(np.arange(len(clip.frame_bits)) / FRAME_RATE, clip.frame_bits, linewidth=0.8, label=clip.clip)
    axis.set_ylim(bottom=0)
    axis.set_xlabel("seconds at 25 frames a second")
    axis.set_ylabel("bits of a frame's codes")
    figure.legend(loc="outside lower center", ncols=3, frameon=False, fontsize=8, labelcolor=INK)
    return _svg(figure, "frame_bits")


def _code_usage(counts: list[list[int]]) -> str:
    from matplotlib.colors import PowerNorm

    share = np.array(counts, float)
    share /= share.sum(1, keepdims=True)
    order = np.sort(share, 1)[:, ::-1]  # codes have no order of their own: most frequent first
    figure, axes = _figure(1, 1, 8.4, 3.4)
    axis = axes[0, 0]
    image = axis.imshow(
        100 * order.T, aspect="auto", cmap="viridis", interpolation="nearest", norm=PowerNorm(0.5, vmin=0, vmax=100)
    )  # rare codes stay visible
    axis.set_xlabel("group")
    axis.set_ylabel("code, most frequent first")
    bar = figure.colorbar(image, ax=axis, label="share of frames, %")
    bar.outline.set_visible(False)
    bar.ax.yaxis.label.set_color(INK)
    bar.ax.tick_params(colors=INK)
    return _svg(figure, "code_usage")
