"""Make the README's picture of real captures, linear beside refined.

python docs/make_refined_picture.py
"""

from pathlib import Path

import torch

from barelens import data
from barelens.app.refining import RefiningPipeline
from barelens.calibration import Camera
from barelens.imaging.display import side_by_side, to_display
from barelens.imaging.files import read_raw, write_png
from barelens.imaging.refine import Refiner

CAPTURES = ("fc_6.png", "fc_7.png", "fc_8.png")


def main() -> None:
    """Refine the three bundled FlatCam captures; linear scenes above, refined ones below."""
    camera = Camera.load(data.path("flatcam/camera.safetensors"))
    refiner = Refiner.load(data.path("refiner/refiner.json").parent)
    pipeline = RefiningPipeline(camera, refiner)
    linear, refined = [], []
    for name in CAPTURES:
        _, result = pipeline(read_raw(data.path(f"flatcam/{name}")))
        white = float(result.white[0])
        linear.append(shown(result.linear, white))
        refined.append(shown(result.image, white))
    labels = ["linear: Tikhonov, GCV"] * 3 + ["refined"] * 3
    montage = side_by_side(linear + refined, labels, columns=len(CAPTURES))
    write_png(Path(__file__).parent / "refined.png", montage)


def shown(images: torch.Tensor, white: float) -> torch.Tensor:
    """Show the only image of a batch."""
    return to_display(images[0], white=white)[0]


if __name__ == "__main__":
    main()
