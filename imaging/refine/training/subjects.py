"""Settings of what a refiner is trained on, and of what is trained."""

from dataclasses import dataclass
from typing import Any, Literal, get_args

from ..record import Conditioning, Prediction, StartKind

__all__ = ["DataSettings", "ModelSettings", "check_choice", "check_positive"]

DataKind = Literal["simulate", "pairs", "difuzcam"]
Trained = Literal["full", "lora", "frozen"]


@dataclass(frozen=True)
class DataSettings:
    """What to train on.

    Attributes
    ----------
    kind : {"simulate", "pairs", "difuzcam"}
        Pictures captured by simulated cameras; a folder of real captures and pictures; or a
        folder in the layout of DifuzCam's published dataset.
    sources : sequence of str
        For "simulate" the pictures, see
        :func:`~barelens.imaging.refine.training.pictures.find_pictures`; else the one folder.
    cameras : sequence of str
        Camera records: to simulate beside the drawn ones, or the one that took the captures.
    number : int
        Different pairs to simulate.
    side : int
        Height and width of the pictures.
    num_cameras : int
        Cameras to draw.
    render_share, real_share : float
        Shares of renders among scenes and of given records among cameras.
    largest_coarse_error : float or None
        Simulated pairs whose start is further off on the large scale are not trained on, see
        :class:`~barelens.imaging.refine.training.pairs.SelectedPairs`.
    """

    kind: DataKind = "simulate"
    sources: tuple[str, ...] = ()
    cameras: tuple[str, ...] = ()
    number: int = 2000
    side: int = 256
    num_cameras: int = 32
    render_share: float = 0.5
    real_share: float = 0.25
    largest_coarse_error: float | None = None

    def __post_init__(self) -> None:
        check_choice("kind", self.kind, DataKind)
        for name in ("sources", "cameras"):
            object.__setattr__(self, name, tuple(getattr(self, name)))
        check_positive(self, "number", "side", "num_cameras")


@dataclass(frozen=True)
class ModelSettings:
    """What to train.

    Attributes
    ----------
    conditioning : {"linear", "capture"}
        Whether the ControlNet sees a description of the linear reconstruction of any camera, or
        captures of one camera through a learned transform.
    start : {"linear", "total_variation"}
        What a model of reconstructions starts from, see
        :class:`~barelens.imaging.refine.start.Start`.
    base : str or None
        Folder or hub id of the Stable Diffusion model whose UNet is steered. Without one, a
        pixel-space UNet of the sizes below is trained from scratch.
    prediction : {"sample", "epsilon", "v_prediction"}
        What the UNet predicts; a base model's own where there is one.
    unet, controlnet : {"full", "lora", "frozen"}
        What of each is trained.
    lora_rank : int
        Rank of the updates where "lora" is chosen.
    block_out_channels, layers_per_block, norm_num_groups
        Of the UNet from scratch, as diffusers means them.
    embedding_channels : tuple of int
        Of the ControlNet's conditioning embedding; each one after the first halves the size.
    patch : int
        Side of the squares of pixels that a pixel-space UNet takes as channels.
    residual_scale, smoothing : float or None, float
        See :class:`~barelens.imaging.refine.pixel_space.PixelSpace`.
    folded_conditioning : bool
        The same; the conditioning embedding must then keep its size.
    transform : {"random", "camera"}
        How the learned transform of captures starts: as published, or from the camera.
    picture_size : int
        Side of the pictures of a model of captures.
    """

    conditioning: Conditioning = "linear"
    start: StartKind = "linear"
    base: str | None = None
    prediction: Prediction = "sample"
    unet: Trained = "full"
    controlnet: Trained = "full"
    lora_rank: int = 8
    block_out_channels: tuple[int, ...] = (64, 96, 128)
    layers_per_block: int = 1
    norm_num_groups: int = 16
    embedding_channels: tuple[int, ...] = (128,)
    patch: int = 4
    residual_scale: float | None = 0.25
    smoothing: float = 1.5
    folded_conditioning: bool = True
    transform: Literal["random", "camera"] = "random"
    picture_size: int = 512

    def __post_init__(self) -> None:
        for name, kind in (
            ("conditioning", Conditioning),
            ("prediction", Prediction),
            ("start", StartKind),
            ("unet", Trained),
            ("controlnet", Trained),
        ):
            check_choice(name, getattr(self, name), kind)
        for name in ("block_out_channels", "embedding_channels"):
            object.__setattr__(self, name, tuple(getattr(self, name)))
        shrink = 1 if self.folded_conditioning else self.patch
        if self.base is None and 2 ** (len(self.embedding_channels) - 1) != shrink:
            raise ValueError(
                f"embedding_channels must make the conditioning {shrink} times smaller, each after "
                f"the first by 2; got {len(self.embedding_channels)} channels"
            )
        picture_first = self.residual_scale is not None or self.folded_conditioning
        if self.conditioning == "capture" and picture_first and self.base is None:
            raise ValueError(
                "a model of captures sees no reconstruction: residual_scale must be None and "
                "folded_conditioning false"
            )
        if self.base is None and (self.unet != "full" or self.controlnet == "lora"):
            raise ValueError("a UNet from scratch needs unet and controlnet 'full'")
        if (self.unet, self.controlnet) == ("frozen", "frozen"):
            raise ValueError("unet and controlnet are both frozen: nothing to train")


def check_choice(name: str, value: str, kind: Any) -> None:
    """Refuse a setting that is none of a Literal's values."""
    if value not in get_args(kind):
        raise ValueError(f"{name} must be one of {', '.join(get_args(kind))}; got {value!r}")


def check_positive(settings: Any, *names: str) -> None:
    """Refuse settings of these names that are not over 0."""
    for name in names:
        if not getattr(settings, name) > 0:
            raise ValueError(f"{name} must be positive, got {getattr(settings, name)}")
