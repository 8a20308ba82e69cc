"""Where calibration captures come from, and which of them can be used."""

from dataclasses import dataclass, field
from pathlib import Path
from typing import Protocol

import torch
from torch import Tensor

from ..imaging.bayer import BayerOrder, split_bayer
from ..imaging.capture_checks import CaptureError, check_capture
from ..imaging.files import FileError, read_raw
from .errors import CalibrationError
from .patterns import MANIFEST, PatternSet, read_manifest

__all__ = ["CaptureFolder", "CaptureSource", "FrameFormat"]

_SUFFIXES = (".png", ".tif", ".tiff", ".npy", ".dng")
_LOSSY = (".jpg", ".jpeg")


@dataclass(frozen=True)
class FrameFormat:
    """What the raw frames of a camera are like.

    Attributes
    ----------
    white_level, black_level : float
        Counts of full light and of none.
    bayer : {"RGGB", "BGGR", "GRBG", "GBRG"} or None
        Mosaic of the frames.
    saturated_limit : float
        Largest share of saturated pixels in a frame that is still used.
    """

    white_level: float
    black_level: float = 0.0
    bayer: BayerOrder | None = None
    saturated_limit: float = 0.001

    def planes(self, raw: Tensor) -> Tensor:
        """Level a raw frame and split it into planes (planes, height, width)."""
        light = (raw.to(torch.float32) - self.black_level) / (self.white_level - self.black_level)
        return split_bayer(light, self.bayer) if self.bayer else light.unsqueeze(-3)


class CaptureSource(Protocol):
    """Where captures of patterns come from: a folder, or a virtual camera."""

    patterns: PatternSet
    frame_shape: tuple[int, ...]
    problems: dict[str, str]

    def read(self, name: str) -> Tensor | None:
        """Give the raw frame of a pattern, or None if it cannot be used."""
        ...


@dataclass
class CaptureFolder:
    """Captures in a folder, named after their patterns, with the patterns' manifest beside them.

    Attributes
    ----------
    problems : dict of str to str
        What is wrong with each capture that cannot be used, by pattern name.

    Raises
    ------
    CalibrationError
        The folder or its manifest is missing, or no capture in it can be used.
    """

    folder: Path
    frame: FrameFormat
    patterns: PatternSet = field(init=False)
    frame_shape: tuple[int, ...] = field(init=False)
    problems: dict[str, str] = field(default_factory=dict, init=False)

    def __post_init__(self) -> None:
        if not self.folder.is_dir():
            raise CalibrationError(f"{self.folder} is no folder")
        self.patterns = read_manifest(self.folder / MANIFEST)
        self._paths = {
            path.stem: path
            for path in sorted(self.folder.iterdir())
            if path.suffix.lower() in _SUFFIXES + _LOSSY
        }
        wanted = [pattern.name for pattern in self.patterns.patterns()]
        if not set(wanted) & set(self._paths):
            raise CalibrationError(
                f"{self.folder} holds no capture of the manifest's {len(wanted)} patterns; "
                f"names must be like {wanted[-1]}.png"
            )
        self.frame_shape = ()
        for name in wanted:
            raw = self.read(name)
            if raw is not None:
                self.frame_shape = tuple(raw.shape)
                break
        if not self.frame_shape:
            first = next(iter(self.problems.values()))
            raise CalibrationError(f"no capture in {self.folder} can be used; the first: {first}")

    def read(self, name: str) -> Tensor | None:
        """Read a capture; None, and a line among the problems, if it cannot be used."""
        path = self._paths.get(name)
        if path is None:
            self.problems[name] = f"{name}: missing"
            return None
        if path.suffix.lower() in _LOSSY:
            self.problems[name] = f"{path.name}: JPEG is 8-bit and lossy; raw captures are needed"
            return None
        try:
            raw = read_raw(path)
            check_capture(
                raw,
                white_level=self.frame.white_level,
                expected_shape=self.frame_shape or None,
                saturated_limit=self.frame.saturated_limit,
            )
        except (FileError, CaptureError) as error:
            message = str(error).removeprefix(f"{path}: ")
            self.problems[name] = f"{path.name}: {message}"
            return None
        return raw
