"""Write the averaged weights of the geometry and of the base motion as one folder: safetensors (bfloat16), config.json.

python -m bcdcodec.training.recipes.export_base --geometry RUN --base-motion RUN --out DIR
"""

from __future__ import annotations

import argparse
import json
import sys
from pathlib import Path

import torch
from safetensors.torch import save_file

from bcdcodec.training.recipes import run as runs

# Small, or compared with exact values: kept in float32.
WHOLE = ("motion_", "expression_", "place_", "locator.mean", "locator.scale", "quantiser.", "running_")


def main(arguments: list[str] | None = None) -> None:
    """Export."""
    parse = argparse.ArgumentParser(description="Export the averaged weights of geometry and base motion.")
    parse.add_argument("--geometry", type=Path, help="run of recipes.geometry")
    parse.add_argument("--base-motion", type=Path, help="run of recipes.base_motion")
    parse.add_argument("--out", type=Path, required=True, help="folder for weights.safetensors and config.json")
    options = parse.parse_args(arguments)
    tensors, config = {}, {}
    for part, folder in (("geometry", options.geometry), ("base_motion", options.base_motion)):
        if folder is None:
            continue
        config[part] = json.loads((folder / "config.json").read_text())[part]
        config[f"{part}_trained"] = runs.progress(folder)
        for name, tensor in runs.averaged(folder).items():
            whole = not tensor.is_floating_point() or any(text in name for text in WHOLE)
            tensors[f"{part}.{name}"] = tensor if whole else tensor.to(torch.bfloat16)
    options.out.mkdir(parents=True, exist_ok=True)
    save_file(tensors, options.out / "weights.safetensors")
    (options.out / "config.json").write_text(json.dumps(config, indent=1))
    print(f"{(options.out / 'weights.safetensors').stat().st_size / 2**20:.1f} MiB in {options.out}")


if __name__ == "__main__":
    sys.exit(main())
