"""Make the pictures of the README from the bundled captures.

python docs/make_pictures.py
"""

from pathlib import Path

import torch

from barelens import data
from barelens.app.pipeline import LinearPipeline
from barelens.calibration import Camera
from barelens.imaging.display import side_by_side, to_display
from barelens.imaging.files import read_raw, write_png

SIZE = (240, 240)


def shown(raw: torch.Tensor) -> torch.Tensor:
    """Shrink a raw frame to a grey picture, as a person would see what the sensor saw."""
    light = torch.nn.functional.interpolate(raw.float()[None, None], SIZE, mode="area")[0]
    return to_display(light, black=float(light.min()))[0]


def resized(picture: torch.Tensor) -> torch.Tensor:
    """Resize a picture (height, width, 3) to a tile."""
    channels = picture.permute(2, 0, 1)[None].float()
    smooth = torch.nn.functional.interpolate(channels, SIZE, mode="bilinear", antialias=True)
    return smooth[0].permute(1, 2, 0).round().to(torch.uint8)


def main() -> None:
    """Reconstruct four captures and lay them out in two rows: sensor above, scene below."""
    captures, scenes = [], []
    for folder, names in (
        ("flatcam", ("fc_6.png", "fc_7.png", "fc_8.png")),
        ("diffusercam", ("hand.tif",)),
    ):
        pipeline = LinearPipeline(Camera.load(data.path(f"{folder}/camera.safetensors")))
        for name in names:
            raw = read_raw(data.path(f"{folder}/{name}"))
            captures.append(shown(raw))
            scenes.append(resized(to_display(pipeline(raw).rgb)[0]))
    labels = ["FlatCam capture"] * 3 + ["DiffuserCam capture"]
    labels += ["Tikhonov, GCV"] * 3 + ["ADMM, total variation"]
    montage = side_by_side(captures + scenes, labels, columns=4)
    write_png(Path(__file__).parent / "linear.png", montage)


if __name__ == "__main__":
    main()
