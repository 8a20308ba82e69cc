"""Make the bundled camera records and the half-size diffuser capture from their originals.

    python data/make_data.py flatcam SELFCAL.npz
    python data/make_data.py diffuser CAPTURE.tif PSF.tif

The originals are named, with their licences, in data/README.md.
"""

import argparse
from pathlib import Path

import cv2
import numpy as np
import torch

from barelens.calibration import Camera, Crop
from barelens.imaging.files import read_raw, write_tiff

HERE = Path(__file__).parent


def make_flatcam(estimate: Path) -> None:
    """Turn self-calibrated transfer matrices into a camera record.

    The levels, Bayer order, rotation and crop are those of FlatNet's published preprocessing.
    """
    with np.load(estimate, allow_pickle=False) as arrays:
        phi_left, phi_right = (torch.from_numpy(arrays[name]) for name in ("PhiL", "PhiR"))
        slope = float(arrays["slope"])
    Camera(
        name="FlatCam of the FlatNet captures, self-calibrated",
        frame_shape=(1024, 1280),
        white_level=65535,
        bayer="BGGR",
        rotation_deg=float(np.degrees(0.00174)),
        crop=Crop(top=6, left=10, height=500, width=620),
        mean_removal=True,
        phi_left=phi_left.float(),
        phi_right=phi_right.float(),
        geometry={"sensor_pixels_per_scene_pixel": slope},
        provenance={
            "method": "shift-invariant profiles fitted to captures 6, 7 and 8 and the "
            "reconstructions published with them",
            "units": "arbitrary: the pictures that it was fitted to had been scaled",
        },
    ).save(HERE / "flatcam" / "camera.safetensors")


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
    """Run one of the two."""
    parser = argparse.ArgumentParser(description=__doc__)
    commands = parser.add_subparsers(dest="command", required=True)
    flatcam = commands.add_parser("flatcam")
    flatcam.add_argument("estimate", type=Path)
    diffuser = commands.add_parser("diffuser")
    diffuser.add_argument("capture", type=Path)
    diffuser.add_argument("psf", type=Path)
    args = parser.parse_args()
    if args.command == "flatcam":
        make_flatcam(args.estimate)
    else:
        make_diffuser(args.capture, args.psf)


if __name__ == "__main__":
    main()
