"""What a stream's encoder asks of motion; `CausalMotion` gives it by the model's networks."""

from __future__ import annotations

from typing import Protocol

import numpy as np
from torch import Tensor

from bcdcodec.models.faces.reference import FacesReference


class StreamMotion(Protocol):
    """The motion of one direction of a stream, a packet's pictures at a time, with its state."""

    warp_error: float  # of the last pictures that `codes` was given: how badly the reference serves

    def read(self, pictures: np.ndarray) -> tuple[Tensor, Tensor]:
        """Codes [t, base groups] of the next pictures uint8 [t, h, w, 3]; their motion [t, m] without enhancement."""

    def codes(
        self, pictures: np.ndarray, base: Tensor, motion: Tensor, reference: FacesReference, lambda_: float
    ) -> np.ndarray:
        """Codes uint8 [t, g] of pictures for which `read` gave `base` and `motion`, with the enhancement layer.

        `lambda_`: the Lagrangian multiplier, see `rdoq`.
        """

    def base_alone(self, base: Tensor) -> np.ndarray:
        """Codes uint8 [t, g] of base codes [t, base groups] with the enhancement layer at rest."""

    def error_with(self, picture: np.ndarray, motion: Tensor, reference: FacesReference) -> float:
        """The `warp_error` that a picture uint8 [h, w, 3] in motion [m] would have with another reference."""
