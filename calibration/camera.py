"""The camera record: all that is known of one lensless camera, in one file."""

import hashlib
import json
from collections.abc import Mapping
from dataclasses import dataclass, field, fields, replace
from pathlib import Path
from typing import Any, Literal, get_args

import torch
from torch import Tensor

from ..imaging import ConvolutionOperator, LinearOperator, MeanRemoval, SeparableOperator
from ..imaging.bayer import BayerOrder, planes_to_rgb, split_bayer
from ..imaging.rotation import rotate
from ..imaging.shapes import ShapeError
from .errors import CalibrationError
from .record_file import read_record, write_record

__all__ = ["Camera", "Crop"]

_TENSORS = (
    "phi_left",
    "phi_right",
    "psf",
    "colour_matrix",
    "phi_left_std",
    "phi_right_std",
)


@dataclass(frozen=True)
class Crop:
    """A window of a sensor plane, in the plane's pixels."""

    top: int
    left: int
    height: int
    width: int


@dataclass(frozen=True, eq=False)
class Camera:
    """A calibrated lensless camera: from the raw frame to its linear operator and back to colour.

    A separable camera has ``phi_left`` and ``phi_right``, a shift-invariant one has ``psf``.

    Parameters
    ----------
    name : str
        What people call it.
    frame_shape : tuple of int
        (height, width) of a raw frame, or (channels, height, width).
    white_level : float
        The count at which the sensor saturates.
    black_level : float, optional
        The count without light.
    bayer : {"RGGB", "BGGR", "GRBG", "GBRG"} or None, optional
        Colour of the frame's first two rows; None for a frame without a mosaic.
    rotation_deg : float, optional
        How far to turn each plane, see :func:`~barelens.imaging.rotation.rotate`.
    crop : Crop, optional
        The part of each turned plane that the operator describes; all of it by default.
    mean_removal : bool, optional
        Whether row and column means are removed, as a 0/1 mask behind a separable model needs.
    phi_left, phi_right : Tensor, shape (sensor, scene) or (4, sensor, scene), optional
        Transfer matrices of a separable camera, in captured light (black 0, white 1) over scene
        light, one for all planes or one for each of R, Gr, Gb and B.
    psf : Tensor, shape (height, width) or (channels, height, width), optional
        Point spread function of a shift-invariant camera, in the same units.
    phi_left_std, phi_right_std : Tensor, optional
        Standard deviation of each entry of the transfer matrices.
    colour_matrix : Tensor, shape (3, 3), optional
        From the camera's linear RGB to linear sRGB; the camera's own RGB is kept without one.
    pixel_pitch_um : float, optional
        Distance of neighbouring pixels of the raw frame.
    geometry : mapping, optional
        Distances and mask, in named units; JSON data.
    residuals : mapping, optional
        How well the calibration explains its captures; JSON data.
    provenance : mapping, optional
        What it was made from, how and by which version; JSON data.

    Raises
    ------
    CalibrationError
        Parts contradict each other.
    """

    name: str
    frame_shape: tuple[int, ...]
    white_level: float
    black_level: float = 0.0
    bayer: BayerOrder | None = None
    rotation_deg: float = 0.0
    crop: Crop | None = None
    mean_removal: bool = False
    phi_left: Tensor | None = None
    phi_right: Tensor | None = None
    psf: Tensor | None = None
    phi_left_std: Tensor | None = None
    phi_right_std: Tensor | None = None
    colour_matrix: Tensor | None = None
    pixel_pitch_um: float | None = None
    geometry: Mapping[str, Any] = field(default_factory=dict)
    residuals: Mapping[str, Any] = field(default_factory=dict)
    provenance: Mapping[str, Any] = field(default_factory=dict)

    def __post_init__(self) -> None:
        if (self.phi_left is None) != (self.phi_right is None):
            raise CalibrationError("phi_left and phi_right must be given together")
        if (self.phi_left is None) == (self.psf is None):
            raise CalibrationError(
                "a camera has either phi_left and phi_right, or psf; got both or none"
            )
        if not self.white_level > self.black_level:
            raise CalibrationError(
                f"white_level must be above black_level={self.black_level}, got {self.white_level}"
            )
        if self.bayer is not None and self.bayer not in get_args(BayerOrder):
            known = ", ".join(get_args(BayerOrder))
            raise CalibrationError(f"unknown Bayer order {self.bayer!r}; choose one of: {known}")
        self._check_sizes()

    def _check_sizes(self) -> None:
        height, width = self.plane_shape
        window = self.window
        if (
            min(window.top, window.left) < 0
            or min(window.height, window.width) < 1
            or window.top + window.height > height
            or window.left + window.width > width
        ):
            raise CalibrationError(f"{window} does not fit in a plane of {height}x{width}")
        try:
            sensor = self.operator().capture_shape[-2:]
        except (ShapeError, TypeError) as error:
            raise CalibrationError(str(error)) from None
        if sensor != (window.height, window.width):
            raise CalibrationError(
                f"the operator is for captures of {sensor[0]}x{sensor[1]}, "
                f"the crop gives {window.height}x{window.width}"
            )

    @property
    def kind(self) -> Literal["separable", "convolution"]:
        """How the camera maps scenes to captures."""
        return "convolution" if self.phi_left is None else "separable"

    @property
    def plane_shape(self) -> tuple[int, int]:
        """(height, width) of one colour plane before the crop."""
        height, width = self.frame_shape[-2:]
        return (height // 2, width // 2) if self.bayer else (height, width)

    @property
    def window(self) -> Crop:
        """The crop, or the whole plane."""
        return self.crop or Crop(0, 0, *self.plane_shape)

    @property
    def num_planes(self) -> int:
        """Number of colour planes of a capture."""
        if self.bayer:
            return 4
        return self.frame_shape[0] if len(self.frame_shape) == 3 else 1

    def prepare(self, raw: Tensor, *, dtype: torch.dtype = torch.float32) -> Tensor:
        """Turn raw frames into the captures that :meth:`operator` describes.

        Levels to black 0 and white 1 without clipping, Bayer split, rotation, crop, and removal
        of row and column means, each as the record says.

        Parameters
        ----------
        raw : Tensor of any real dtype, shape (..., *frame_shape)
            Counts as stored.
        dtype : torch.dtype, optional
            Floating-point dtype of the result.

        Returns
        -------
        Tensor, shape (..., planes, height, width)
            The planes R, Gr, Gb and B of a Bayer frame, else the frame's own channels or one.

        Raises
        ------
        ShapeError
            The frame has another shape.
        """
        expected = self.frame_shape
        if tuple(raw.shape[-len(expected) :]) != tuple(expected):
            sizes = ", ".join(map(str, expected))
            raise ShapeError(f"raw must have shape (..., {sizes}), got {tuple(raw.shape)}")
        light = raw.to(dtype, copy=True)  # what follows is done in its memory
        if self.black_level:
            light.sub_(self.black_level)
        light.div_(self.white_level - self.black_level)
        if self.bayer:
            light = split_bayer(light, self.bayer)
        elif len(expected) == 2:
            light = light.unsqueeze(-3)
        window = self.window
        rows = slice(window.top, window.top + window.height)
        columns = slice(window.left, window.left + window.width)
        light = rotate(light, self.rotation_deg, window=(rows, columns))
        return MeanRemoval.within(light.contiguous()) if self.mean_removal else light

    def operator(
        self, *, dtype: torch.dtype | None = None, device: torch.device | str | None = None
    ) -> LinearOperator:
        """Give the linear operator from scene planes to prepared captures."""
        if self.psf is not None:
            return ConvolutionOperator(self.psf.to(device=device, dtype=dtype))
        assert self.phi_left is not None and self.phi_right is not None
        operator = SeparableOperator(
            self.phi_left.to(device=device, dtype=dtype),
            self.phi_right.to(device=device, dtype=dtype),
        )
        return operator.centred() if self.mean_removal else operator

    def to_rgb(self, scene: Tensor) -> Tensor:
        """Merge scene planes (..., planes, height, width) to linear RGB (..., 3, ...) or grey.

        The two greens are averaged and the colour matrix, if there is one, is applied; nothing is
        scaled or clipped.
        """
        if not self.bayer:
            return scene
        rgb = planes_to_rgb(scene)
        if self.colour_matrix is None:
            return rgb
        return torch.einsum("ij,...jhw->...ihw", self.colour_matrix.to(rgb), rgb)

    @property
    def digest(self) -> str:
        """SHA-256 of everything in the record, the same for equal records on any machine."""
        state = hashlib.sha256(json.dumps(self._settings(), sort_keys=True).encode())
        for name, tensor in sorted(self._tensors().items()):
            state.update(f"{name} {tensor.dtype} {tuple(tensor.shape)}".encode())
            state.update(tensor.cpu().contiguous().view(torch.uint8).numpy().tobytes())
        return state.hexdigest()

    def with_provenance(self, **entries: Any) -> "Camera":
        """Copy the record with entries added to its provenance."""
        return replace(self, provenance={**self.provenance, **entries})

    def _tensors(self) -> dict[str, Tensor]:
        named = {name: getattr(self, name) for name in _TENSORS}
        return {name: tensor.detach() for name, tensor in named.items() if tensor is not None}

    def _settings(self) -> dict[str, Any]:
        settings = {
            item.name: getattr(self, item.name)
            for item in fields(self)
            if item.name not in _TENSORS
        }
        settings["crop"] = None if self.crop is None else vars(self.crop)
        for name in ("geometry", "residuals", "provenance"):
            settings[name] = dict(settings[name])
        return settings

    def save(self, path: str | Path) -> None:
        """Write the record to one safetensors file, complete or not at all.

        Raises
        ------
        CalibrationError
            Geometry, residuals or provenance hold what JSON cannot.
        """
        write_record(Path(path), self._settings(), self._tensors())

    @classmethod
    def load(cls, path: str | Path) -> "Camera":
        """Read a record; nothing in the file is ever executed.

        Raises
        ------
        FileNotFoundError
            There is no such file.
        CalibrationError
            The file is no camera record, is damaged, or is of a newer format.
        """
        path = Path(path)
        settings, tensors = read_record(path)
        try:
            settings |= tensors
            settings["frame_shape"] = tuple(settings["frame_shape"])
            settings["crop"] = settings["crop"] and Crop(**settings["crop"])
            return cls(**settings)
        except CalibrationError as error:
            raise CalibrationError(f"{path}: {error}") from None
        except (KeyError, TypeError, ValueError) as error:
            raise CalibrationError(f"{path} is a damaged camera record: {error}") from None
