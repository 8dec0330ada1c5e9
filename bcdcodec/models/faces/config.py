"""Configuration of the `faces` model."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import ClassVar

from bcdcodec.config import ContentConfig, ModelConfig
from bcdcodec.errors import ModelError


@dataclass(frozen=True)
class BaseMotionConfig:
    """Sizes of the encoder of the base motion."""

    picture: int = 64  # pixels, side of the picture that the locator sees
    crop: int = 112  # pixels, side of the crop that the reader sees
    context: float = 1.15  # side of that crop over the side of the face-aligned frame
    width: int = 256
    ff: int = 1024
    layers: int = 2
    heads: int = 4
    stem: tuple[int, ...] = (48, 96, 256)  # channels of the strided convolutions: by 4, 2 and 2
    locator_stem: tuple[int, ...] = (32, 64, 128)
    expression: int = 54  # numbers of expression and turn: 52 blendshapes, pitch, yaw
    groups: int = 16  # of expression and turn
    dim: int = 4  # channels of a group
    codes: int = 32
    place_groups: int = 8  # of the similarity: a coarse and a fine group for each of its four numbers
    place_fine: int = 16  # codes of a fine group that are used


@dataclass(frozen=True)
class GeometryConfig:
    """Sizes of the geometry network."""

    frame: int = 192  # pixels, side of the face-aligned frame
    patch: int = 16  # pixels, side of a patch
    margin: int = 4  # pixels around a patch that its token also sees
    cell: int = 2  # pixels, spacing of the flow
    width: int = 256  # channels of a token
    blocks: int = 4
    heads: int = 4
    rank: int = 48  # of the bias that position and motion give together
    motion: int = 54  # numbers of base motion: blendshapes, pitch, yaw

    @property
    def grid(self) -> int:
        """Patches on a side."""
        return self.frame // self.patch

    @property
    def cells(self) -> int:
        """Flow cells on a side."""
        return self.frame // self.cell


@dataclass(frozen=True)
class DrawingConfig:
    """Sizes of the drawing network, a diffusion transformer over the warped face."""

    frame: int = 192  # pixels, side of the face-aligned frame
    patch: int = 12  # pixels, side of a patch: 8 of a frame of 128
    margin: int = 6  # pixels around a patch that its token also sees
    cell: int = 2  # pixels, spacing of occlusion and inner mouth
    width: int = 256  # channels of a token
    blocks: int = 6
    heads: int = 4
    motion: int = 54  # numbers of base motion: blendshapes, pitch, yaw
    # Noise levels, in units of pictures from -1 to 1.
    sigma_data: float = 0.1  # deviation of what is drawn: the true face minus the warped one
    sigma_min: float = 0.03
    sigma_max: float = 4.0  # the first step, which sees noise alone
    sigma_again: float = 0.1  # the second step; later ones fall to sigma_min

    @property
    def grid(self) -> int:
        """Patches on a side."""
        return self.frame // self.patch


@dataclass(frozen=True)
class SurroundingsConfig:
    """Sizes of the network that moves what is around the face."""

    picture: int = 128  # pixels, side of the picture that it sees
    patch: int = 8  # pixels, side of a patch
    margin: int = 2  # pixels around a patch that its token also sees
    cell: int = 2  # pixels, spacing of the flow
    width: int = 192  # channels of a token
    blocks: int = 4
    heads: int = 4
    motion: int = 58  # numbers of base motion: blendshapes, pitch, yaw, similarity

    @property
    def grid(self) -> int:
        """Patches on a side."""
        return self.picture // self.patch

    @property
    def cells(self) -> int:
        """Flow cells on a side."""
        return self.picture // self.cell


def check_same_frame(drawing: DrawingConfig, geometry: GeometryConfig) -> None:
    """Raise ModelError unless the drawing network draws over pictures and maps of the geometry network's sizes."""
    if (drawing.frame, drawing.cell) != (geometry.frame, geometry.cell):
        raise ModelError(
            f"the drawing network has a frame of {drawing.frame} pixels and cells of {drawing.cell}, the geometry "
            f"network {geometry.frame} and {geometry.cell}"
        )


@dataclass(frozen=True)
class EnhancementConfig:
    """The flow fields of the enhancement layer."""

    side: int = 128  # pixels, side of the pictures that are aligned
    grid: int = 16  # flow vectors on a side of a field


@dataclass(frozen=True)
class PictureContentConfig(ContentConfig):
    """The reference is a picture in AV1; there are no tokens."""

    reference_motion: ClassVar[bool] = True
    picture: ClassVar[bool] = True

    rows: int = 1
    columns: int = 1
    dim: int = 1
    frames: int = 1


@dataclass(frozen=True, kw_only=True)
class FacesConfig(ModelConfig):
    """Every field that weights and files of a `faces` model depend on."""

    model: ClassVar[str] = "faces"

    content: PictureContentConfig
    base: BaseMotionConfig = field(default_factory=BaseMotionConfig)
    geometry: GeometryConfig = field(default_factory=GeometryConfig)
    drawing: DrawingConfig | None = None  # None: nothing is drawn over the warped face
    surroundings: SurroundingsConfig | None = None  # None: a rule moves what is around the face
    enhancement: EnhancementConfig = field(default_factory=EnhancementConfig)

    def __post_init__(self):
        if self.base_groups >= self.quantiser.groups:
            raise ModelError(f"the base layer has {self.base_groups} groups of {self.quantiser.groups}")
        if self.drawing is not None:
            check_same_frame(self.drawing, self.geometry)

    @property
    def base_groups(self) -> int:
        """Groups of the base layer, which come first."""
        return self.base.groups + self.base.place_groups

    @property
    def base_channels(self) -> int:
        """Channels of motion that the base layer has."""
        return self.base.groups * self.base.dim + self.base.place_groups

    @property
    def motion_channels(self) -> int:
        """Channels of quantised motion: those of the base layer, then one for each group of the enhancement layer."""
        return self.base_channels + self.quantiser.groups - self.base_groups
