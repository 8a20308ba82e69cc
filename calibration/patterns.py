"""The patterns that a screen shows to a separable camera to calibrate it.

Row patterns vary along the height and calibrate the left matrix, column patterns the right one. A
screen shows 0 and 1, so a Hadamard vector of -1 and 1 is shown as itself and as its complement.
"""

import json
from collections.abc import Iterator
from dataclasses import asdict, dataclass, replace
from pathlib import Path
from typing import Any, Literal

import torch
from torch import Tensor

from ..imaging.files import write_json, write_png
from .errors import CalibrationError

__all__ = ["MANIFEST", "Pattern", "PatternSet", "hadamard", "read_manifest", "write_patterns"]

MANIFEST = "manifest.json"
FORMAT = "barelens.patterns"
FORMAT_VERSION = 1

Kind = Literal["left", "right", "white", "black", "grid", "cross"]


@dataclass(frozen=True)
class Pattern:
    """One picture on the screen.

    Attributes
    ----------
    name : str
        Stem of the picture's file and of its capture's.
    kind : {"left", "right", "white", "black", "grid", "cross"}
        Which matrix it calibrates, or what else it is for.
    index : int
        Index of the Hadamard vector, -1 for other kinds.
    sign : int
        1, or -1 for the complement.
    """

    name: str
    kind: Kind
    index: int = -1
    sign: int = 1


@dataclass(frozen=True)
class PatternSet:
    """All pictures for one screen and one size of scene.

    Parameters
    ----------
    screen_height, screen_width : int
        Pixels of the screen.
    scene_height, scene_width : int
        Samples of the scene; each becomes a square of whole screen pixels.

    Raises
    ------
    CalibrationError
        The scene does not fit on the screen.
    """

    screen_height: int
    screen_width: int
    scene_height: int
    scene_width: int

    def __post_init__(self) -> None:
        if min(asdict(self).values()) < 2:
            raise CalibrationError(f"screen and scene need sides of 2 or more, got {self}")
        if self.cell < 1:
            raise CalibrationError(
                f"a scene of {self.scene_height}x{self.scene_width} does not fit on a screen of "
                f"{self.screen_height}x{self.screen_width} pixels"
            )

    @property
    def cell(self) -> int:
        """Screen pixels along each side of a scene sample."""
        return min(self.screen_height // self.scene_height, self.screen_width // self.scene_width)

    @property
    def order(self) -> int:
        """Number of Hadamard vectors on each side: the power of two that covers the scene."""
        longest = max(self.scene_height, self.scene_width)
        return 1 << (longest - 1).bit_length()

    def patterns(self) -> Iterator[Pattern]:
        """List all patterns in the order in which they are shown."""
        for kind in ("cross", "grid", "white", "black"):
            yield Pattern(f"0_{kind}", kind)
        for side in ("left", "right"):
            for index in range(self.order):
                for sign, suffix in ((1, "plus"), (-1, "minus")):
                    name = f"{side}_{index:04d}_{suffix}"
                    yield Pattern(name, side, index, sign)

    def scene(self, pattern: Pattern) -> Tensor:
        """Draw a pattern in scene samples: 0 and 1, shape (scene_height, scene_width)."""
        height, width = self.scene_height, self.scene_width
        if pattern.kind in ("left", "right"):
            length = height if pattern.kind == "left" else width
            vector = (1 + pattern.sign * hadamard(self.order)[pattern.index, :length]) / 2
            column = vector[:, None] if pattern.kind == "left" else vector[None, :]
            return column.expand(height, width).contiguous()
        drawn = torch.zeros(height, width)
        if pattern.kind == "white":
            drawn += 1
        elif pattern.kind == "grid":
            drawn[height // 16 :: max(height // 8, 1), width // 16 :: max(width // 8, 1)] = 1
        elif pattern.kind == "cross":
            drawn[height // 2] = 1
            drawn[:, width // 2] = 1
        return drawn

    def picture(self, pattern: Pattern) -> Tensor:
        """Draw a pattern for the screen: uint8, centred on black."""
        drawn = self.scene(pattern).mul(255).to(torch.uint8)
        drawn = drawn.repeat_interleave(self.cell, 0).repeat_interleave(self.cell, 1)
        picture = torch.zeros(self.screen_height, self.screen_width, dtype=torch.uint8)
        top = (self.screen_height - drawn.shape[0]) // 2
        left = (self.screen_width - drawn.shape[1]) // 2
        picture[top : top + drawn.shape[0], left : left + drawn.shape[1]] = drawn
        return picture


def hadamard(order: int) -> Tensor:
    """Hadamard matrix of a power of two, entries -1 and 1, float32."""
    matrix = torch.ones(1, 1)
    while matrix.shape[0] < order:
        matrix = torch.cat([torch.cat([matrix, matrix], 1), torch.cat([matrix, -matrix], 1)])
    return matrix


def write_patterns(folder: Path, patterns: PatternSet) -> Iterator[Path]:
    """Write every picture as NAME.png and, last, the manifest; yields each path once written."""
    folder.mkdir(parents=True, exist_ok=True)
    for pattern in patterns.patterns():
        path = folder / f"{pattern.name}.png"
        write_png(path, patterns.picture(pattern))
        yield path
    write_json(folder / MANIFEST, manifest(patterns))
    yield folder / MANIFEST


def manifest(patterns: PatternSet) -> dict[str, Any]:
    """Describe a set as JSON data."""
    return {
        "format": FORMAT,
        "format_version": FORMAT_VERSION,
        "set": asdict(patterns),
        "cell": patterns.cell,
        "patterns": [asdict(pattern) for pattern in patterns.patterns()],
    }


def read_manifest(path: Path) -> PatternSet:
    """Read a manifest, and check that it lists what this release would show.

    Raises
    ------
    CalibrationError
        There is none, or it is damaged, foreign, newer or edited.
    """
    try:
        record = json.loads(path.read_text(encoding="utf-8"))
    except FileNotFoundError:
        raise CalibrationError(
            f"{path} is missing; captures need the manifest of their patterns beside them"
        ) from None
    except (OSError, ValueError) as error:
        raise CalibrationError(f"{path} cannot be read: {error}") from None
    if not isinstance(record, dict) or record.get("format") != FORMAT:
        raise CalibrationError(f"{path} is no manifest of calibration patterns")
    version = record.get("format_version")
    if not isinstance(version, int) or version > FORMAT_VERSION:
        raise CalibrationError(
            f"{path} has format version {version}; this release reads up to {FORMAT_VERSION}. "
            "Upgrade barelens to open it."
        )
    try:
        patterns = replace(PatternSet(2, 2, 2, 2), **record["set"])
    except (KeyError, TypeError) as error:
        raise CalibrationError(f"{path} is damaged: {error}") from None
    if record.get("patterns") != manifest(patterns)["patterns"]:
        raise CalibrationError(f"{path} lists other patterns than its screen and scene sizes give")
    return patterns
