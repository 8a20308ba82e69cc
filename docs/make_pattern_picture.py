"""Make the documentation's picture of calibration patterns.

python docs/make_pattern_picture.py
"""

import tempfile
from pathlib import Path

import cv2
import torch

from barelens.calibration import PatternSet, write_patterns
from barelens.imaging.display import side_by_side
from barelens.imaging.files import write_png

SHOWN = ("0_white", "0_cross", "0_grid", "left_0005_plus", "left_0005_minus", "right_0009_plus")


def main() -> None:
    """Draw six pictures of a small set in two rows."""
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        list(write_patterns(folder, PatternSet(216, 320, 16, 16)))
        grey = [torch.from_numpy(cv2.imread(str(folder / f"{shown}.png"), 0)) for shown in SHOWN]
    tiles = [picture[..., None].expand(-1, -1, 3).contiguous() for picture in grey]
    montage = side_by_side(tiles, [f"{shown}.png" for shown in SHOWN], columns=3)
    write_png(Path(__file__).parent / "patterns.png", montage)


if __name__ == "__main__":
    main()
