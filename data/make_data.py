"""Make the half-size diffuser capture and its camera record from their originals.

    python data/make_data.py CAPTURE.tif PSF.tif

The originals are named, with their licences, in data/README.md.
"""

import argparse
from pathlib import Path

import cv2
import torch

from barelens.calibration import Camera
from barelens.imaging.files import read_raw, write_tiff

HERE = Path(__file__).parent


def make_diffuser(capture: Path, psf: Path) -> None:
    """Halve the diffuser capture and its PSF by averaging 2x2 pixels.

    The black level is the mean of the PSF's dark corner, as in the tutorial they come from; the
    PSF is scaled to unit energy, so that scene values are of the size of capture values.
    """
    dark = float(read_raw(psf).float()[5:15, 5:15].mean())
    halved = cv2.resize(
        read_raw(capture).numpy(), None, fx=0.5, fy=0.5, interpolation=cv2.INTER_AREA
    )
    spread = cv2.resize(
        read_raw(psf).float().numpy() - dark, None, fx=0.5, fy=0.5, interpolation=cv2.INTER_AREA
    )
    write_tiff(HERE / "diffusercam" / "hand.tif", torch.from_numpy(halved))
    kernel = torch.from_numpy(spread)
    Camera(
        name="DiffuserCam of the tutorial, half size",
        frame_shape=tuple(halved.shape),
        white_level=65535,
        black_level=dark,
        psf=kernel / kernel.norm(),
        provenance={"method": "one point source; black level from the PSF's dark corner"},
    ).save(HERE / "diffusercam" / "camera.safetensors")


def main() -> None:
    """Read the two paths and make both files."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("capture", type=Path)
    parser.add_argument("psf", type=Path)
    arguments = parser.parse_args()
    make_diffuser(arguments.capture, arguments.psf)


if __name__ == "__main__":
    main()
