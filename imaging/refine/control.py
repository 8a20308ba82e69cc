"""The ControlNet that sees a raw capture through a learned separable transform."""

import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import torch
from torch import Tensor, nn

from .libraries import need_diffusers
from .stored import read_tensors, write_tensors
from .transform import NUM_PLANES, SeparableTransform

__all__ = ["PUBLISHED_FILE", "CaptureControlNet"]

FORMAT = "barelens.capture_transform"
FORMAT_VERSION = 1
TRANSFORM_FILE = "transform.safetensors"
PUBLISHED_FILE = "diffusion_pytorch_model.safetensors"

#: What the published state dict holds beyond diffusers' own keys.
_PUBLISHED = ("flat_inverse.PhiL", "flat_inverse.PhiR", "conv.weight", "conv.bias")
_CONDITIONING = "controlnet_cond_embedding.conv_in.weight"


class CaptureControlNet(nn.Module):
    """A ControlNet of four conditioning channels behind a :class:`SeparableTransform`.

    Parameters
    ----------
    controlnet : diffusers.ControlNetModel
        With ``conditioning_channels=4``.
    transform : SeparableTransform
        From captures to the ControlNet's conditioning, planes R, Gr, Gb and B.
    preview : nn.Conv2d, optional
        The 3x3 convolution from four channels to RGB in [-1, 1] through which training compares
        the transform with the picture; a fresh one where left out. Inference does not use it.

    Raises
    ------
    ValueError
        The ControlNet takes another number of channels.

    References
    ----------
    Yosef & Giryes, "DifuzCam: Replacing Camera Lens with a Mask and a Diffusion Model",
    Scientific Reports 15, 2025.
    """

    def __init__(
        self,
        controlnet: Any,
        transform: SeparableTransform,
        preview: nn.Conv2d | None = None,
    ) -> None:
        super().__init__()
        channels = controlnet.config["conditioning_channels"]
        if channels != NUM_PLANES:
            raise ValueError(f"controlnet must have {NUM_PLANES} channels, got {channels}")
        self.controlnet = controlnet
        self.transform = transform
        self.preview = nn.Conv2d(NUM_PLANES, 3, 3, padding=1) if preview is None else preview

    def forward(
        self,
        sample: Tensor,
        timestep: Tensor | float,
        encoder_hidden_states: Tensor,
        capture: Tensor,
        conditioning_scale: float = 1.0,
    ) -> tuple[list[Tensor], Tensor]:
        """Give the residuals for the UNet's down blocks and its middle block.

        Parameters
        ----------
        sample : Tensor, shape (batch, channels, height, width)
            Noisy latents.
        timestep : Tensor or float
            Their timestep.
        encoder_hidden_states : Tensor, shape (batch, tokens, features)
            Embedded prompts.
        capture : Tensor, shape (batch, 4, sensor_height, sensor_width)
            Prepared captures. A sampler transforms them once and calls :attr:`controlnet`.
        conditioning_scale : float, optional
            Factor of the residuals.
        """
        down, middle = self.controlnet(
            sample,
            timestep,
            encoder_hidden_states,
            controlnet_cond=self.transform(capture),
            conditioning_scale=conditioning_scale,
            return_dict=False,
        )
        return down, middle

    @classmethod
    def from_published(
        cls, state: Mapping[str, Tensor], config: Mapping[str, Any]
    ) -> "CaptureControlNet":
        """Convert the state dict of DifuzCam's ControlNet; every key must be there and no other.

        Its planes are ordered B, Gb, Gr, R. All that is indexed by planes is turned round to
        R, Gr, Gb, B here, so that the captures of :func:`~barelens.imaging.bayer.split_bayer` fit.

        Parameters
        ----------
        state : mapping of str to Tensor
            diffusers' ControlNet keys and ``flat_inverse.PhiL``, ``flat_inverse.PhiR``,
            ``conv.weight`` and ``conv.bias``.
        config : mapping
            The ``config.json`` beside it; entries of its own class are passed over.

        Raises
        ------
        ValueError
            Keys are missing, unexpected or of other shapes.
        """
        model = need_diffusers().ControlNetModel
        missing = [key for key in _PUBLISHED if key not in state]
        if missing:
            raise ValueError(f"no published DifuzCam ControlNet: {', '.join(missing)} missing")
        controlnet = model.from_config(dict(config))
        own = {key: value for key, value in state.items() if key not in _PUBLISHED}
        preview = nn.Conv2d(NUM_PLANES, 3, 3, padding=1)
        try:
            own[_CONDITIONING] = own[_CONDITIONING].flip(1)
            controlnet.load_state_dict(own, strict=True)
            preview.load_state_dict(
                {"weight": state["conv.weight"].flip(1), "bias": state["conv.bias"]}
            )
        except (KeyError, RuntimeError) as error:
            raise ValueError(f"no published DifuzCam ControlNet: {error}") from None
        transform = SeparableTransform(
            state["flat_inverse.PhiL"].flip(0), state["flat_inverse.PhiR"].flip(0)
        )
        return cls(controlnet, transform, preview)

    @classmethod
    def load_published(cls, folder: str | Path) -> "CaptureControlNet":
        """Read a folder as DifuzCam saves its ControlNet, such as ``checkpoint-500000/controlnet``.

        Raises
        ------
        FileNotFoundError
            There is no such model.
        ValueError
            It is another model, or damaged.
        """
        folder = Path(folder)
        state, _ = read_tensors(folder / PUBLISHED_FILE)
        config = json.loads((folder / "config.json").read_text(encoding="utf-8"))
        return cls.from_published(state, config)

    def save(self, folder: str | Path) -> None:
        """Write diffusers' files of the ControlNet and ``transform.safetensors`` beside them."""
        folder = Path(folder)
        self.controlnet.save_pretrained(folder)
        tensors = {
            "weight_left": self.transform.weight_left,
            "weight_right": self.transform.weight_right,
            **{f"preview.{name}": value for name, value in self.preview.state_dict().items()},
        }
        metadata = {
            "format": FORMAT,
            "format_version": str(FORMAT_VERSION),
            "planes": "R,Gr,Gb,B",
        }
        write_tensors(folder / TRANSFORM_FILE, tensors, metadata)

    @classmethod
    def load(cls, folder: str | Path) -> "CaptureControlNet":
        """Read what :meth:`save` wrote.

        Raises
        ------
        FileNotFoundError
            There is no such file.
        ValueError
            The file is of another or a newer format.
        """
        folder = Path(folder)
        tensors = _read_transform(folder / TRANSFORM_FILE)
        controlnet = need_diffusers().ControlNetModel.from_pretrained(folder, local_files_only=True)
        preview = nn.Conv2d(NUM_PLANES, 3, 3, padding=1)
        preview.load_state_dict(
            {"weight": tensors["preview.weight"], "bias": tensors["preview.bias"]}
        )
        transform = SeparableTransform(tensors["weight_left"], tensors["weight_right"])
        return cls(controlnet, transform, preview)


def _read_transform(path: Path) -> dict[str, Tensor]:
    try:
        tensors, metadata = read_tensors(path)
    except FileNotFoundError as error:
        raise FileNotFoundError(
            f"{error}; a folder that DifuzCam saved is read by CaptureControlNet.load_published"
        ) from None
    version = metadata.get("format_version", "")
    if metadata.get("format") != FORMAT or not version.isdigit():
        raise ValueError(f"{path} is a safetensors file but not {FORMAT}")
    if int(version) > FORMAT_VERSION:
        raise ValueError(
            f"{path} has format version {version}; this release reads up to {FORMAT_VERSION}. "
            "Upgrade barelens to open it."
        )
    expected = {"weight_left", "weight_right", "preview.weight", "preview.bias"}
    if set(tensors) != expected or not all(torch.is_floating_point(t) for t in tensors.values()):
        raise ValueError(f"{path} must hold {', '.join(sorted(expected))}, got {sorted(tensors)}")
    return tensors
