"""Make the README's picture of trust from a bundled real capture.

python docs/make_trust_picture.py
"""

from pathlib import Path

import torch

from barelens import data
from barelens.app.trust_picture import draw_error, draw_excess
from barelens.app.trust_record import Trust
from barelens.calibration import Camera
from barelens.imaging import Tikhonov
from barelens.imaging.display import side_by_side, to_display
from barelens.imaging.files import read_raw, write_png
from barelens.imaging.trust import (
    CameraTest,
    WindowTest,
    factorise,
    judge_picture,
    overlay_invented,
)

TEETH = slice(46, 164), slice(84, 176)  # in the reconstruction of capture 6
PLACE, SIZE = (152, 40), (72, 56)  # where they go in that of capture 7, and how large
VERMILLION = (213, 94, 0)


def paste(planes: torch.Tensor, other: torch.Tensor) -> torch.Tensor:
    """Put the teeth of another picture into one."""
    (row, column), (height, width) = PLACE, SIZE
    piece = other[:, TEETH[0], TEETH[1]]
    pasted = planes.clone()
    pasted[:, row : row + height, column : column + width] = torch.nn.functional.interpolate(
        piece[None], SIZE, mode="bilinear", antialias=True
    )[0]
    return pasted


def grown(mask: torch.Tensor, size: int) -> torch.Tensor:
    """Grow a mask by half a window of odd size on every side."""
    return torch.nn.functional.max_pool2d(mask[None].float(), size, 1, size // 2)[0] > 0


def marked(shown: torch.Tensor, found: torch.Tensor, windows: WindowTest) -> torch.Tensor:
    """Dim a picture but for the windows that contradict the capture, which get a frame."""
    inside = torch.zeros(shown.shape[:2], dtype=torch.bool)
    for row, column in (found.nonzero() * windows.stride).tolist():
        inside[row : row + windows.window, column : column + windows.window] = True
    inside = ~grown(~grown(inside, 17), 17)  # without the slits between windows
    frame = grown(inside, 5) & ~inside
    picture = torch.where(inside[..., None], shown, (shown * 0.45).to(torch.uint8))
    return torch.where(frame[..., None], torch.tensor(VERMILLION).byte(), picture)


def main() -> None:
    """Draw six pictures in two rows: what is known of a reconstruction, and of a forged one."""
    camera = Camera.load(data.path("flatcam/camera.safetensors"))
    operator = camera.operator(dtype=torch.float64)
    tikhonov = Tikhonov(operator, "gcv")
    raw, other = (read_raw(data.path(f"flatcam/fc_{number}.png")) for number in (7, 6))
    capture = camera.prepare(raw, dtype=torch.float64)
    solution = tikhonov.solve(capture)
    report = Trust(camera, operator)(raw, solution.scene, solution.penalty)
    shown = to_display(camera.to_rgb(solution.scene))[0]
    forged = paste(solution.scene, tikhonov(camera.prepare(other, dtype=torch.float64)))
    factors = factorise(operator)
    windows = WindowTest(factors, 16)
    verdict = judge_picture(
        forged,
        capture,
        CameraTest(factors),
        windows,
        neighbour_correlation=0.25,
    )
    forged_shown = to_display(camera.to_rgb(forged))[0]
    excess = (report.sensor.energy / report.sensor.dof).mean(0).sqrt()
    tiles = [
        shown,
        overlay_invented(shown, report.measured_share),
        draw_error(report.std),
        forged_shown,
        marked(forged_shown, verdict.found, windows),
        draw_excess(excess, shown.shape[1]),
    ]
    labels = [
        "real capture, reconstructed",
        "what the sensor determined",
        "expected error",
        "teeth pasted in by hand",
        "windows the capture contradicts",
        "unexplained, on the sensor",
    ]
    write_png(Path(__file__).parent / "trust.png", side_by_side(tiles, labels, columns=3))


if __name__ == "__main__":
    main()
