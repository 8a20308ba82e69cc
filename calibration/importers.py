"""Camera records from the files of other projects."""

import math
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from ..imaging.bayer import BayerOrder
from ..imaging.files import read_raw
from .camera import Camera, Crop
from .errors import CalibrationError

__all__ = ["import_flatcam", "import_psf"]

#: Suffixes of the matrices in FlatCam's and FlatNet's files, in the order R, Gr, Gb, B.
_PLANES = ("r", "gr", "gb", "b")


def import_flatcam(
    path: str | Path,
    *,
    frame_shape: tuple[int, int] = (1024, 1280),
    white_level: float = 65535,
    black_level: float = 0.0,
    bayer: BayerOrder = "BGGR",
    rotation_deg: float | None = None,
    crop: Crop | None = None,
) -> Camera:
    """Read the calibration file of the FlatCam or the FlatNet project.

    The matrices are ``P1r``, ``P1gr``, ``P1gb`` and ``P1b`` along the height and ``Q1r`` and so on
    along the width. Captures are turned counterclockwise by ``angle`` degrees where the file has it
    and cropped around their centre to the matrices' sensor size. By default frames are read as the
    projects read theirs: 1024x1280, 16 bits, blue first.

    Parameters
    ----------
    path : path
        A MATLAB file of version 5 to 7.2.
    frame_shape : tuple of int, optional
        (height, width) of raw frames.
    white_level, black_level : float, optional
        Counts of full light and of none.
    bayer : {"RGGB", "BGGR", "GRBG", "GBRG"}, optional
        Colours of the first two rows.
    rotation_deg : float, optional
        In place of the file's angle; FlatNet's scripts turn by 0.0997 degrees (0.00174 rad).
    crop : Crop, optional
        In place of the central crop; FlatNet's scripts cut from row 6 and column 10.

    Returns
    -------
    Camera
        A separable camera with mean removal.

    Raises
    ------
    FileNotFoundError
        There is no such file.
    CalibrationError
        The file is damaged, of another kind or version, or its matrices do not fit the frame.
    """
    path = Path(path)
    content = _read_mat(path)
    left, right = (
        torch.stack([_matrix(path, content, f"{side}1{plane}") for plane in _PLANES])
        for side in ("P", "Q")
    )
    if rotation_deg is None:
        rotation_deg = float(content["angle"].ravel()[0]) if "angle" in content else 0.0
    if crop is None:
        crop = _central_crop(frame_shape, rotation_deg, left.shape[1], right.shape[1])
    try:
        return Camera(
            name=path.stem,
            frame_shape=frame_shape,
            white_level=white_level,
            black_level=black_level,
            bayer=bayer,
            rotation_deg=rotation_deg,
            crop=crop,
            mean_removal=True,
            phi_left=left,
            phi_right=right,
            provenance={"method": "imported", "file": path.name},
        )
    except CalibrationError as error:
        raise CalibrationError(f"{path}: {error}") from None


def _central_crop(
    frame_shape: tuple[int, int], rotation_deg: float, height: int, width: int
) -> Crop:
    """Crop around the centre as if planes had been turned about it and not about their corner.

    Whole samples only: what is left, at most half a sample, moves the scene and harms nothing.
    """
    centre_y, centre_x = frame_shape[0] // 2 / 2 - 0.5, frame_shape[1] // 2 / 2 - 0.5
    angle = math.radians(rotation_deg)
    down = centre_y * math.cos(angle) - centre_x * math.sin(angle) - centre_y
    right = centre_y * math.sin(angle) + centre_x * math.cos(angle) - centre_x
    return Crop(
        (frame_shape[0] // 2 - height) // 2 + round(down),
        (frame_shape[1] // 2 - width) // 2 + round(right),
        height,
        width,
    )


def _read_mat(path: Path) -> dict[str, Any]:
    from scipy.io import loadmat

    if not path.is_file():
        raise FileNotFoundError(f"no calibration file at {path}")
    try:
        return dict(loadmat(path))
    except NotImplementedError:
        return _read_mat73(path)
    except Exception as error:  # scipy raises many kinds on damaged files
        raise CalibrationError(f"{path} cannot be read as a MATLAB file: {error}") from None


def _read_mat73(path: Path) -> dict[str, Any]:
    """Read a MATLAB 7.3 file, which is HDF5 with axes the other way round."""
    try:
        import h5py
    except ImportError:
        raise CalibrationError(
            f"{path} is a MATLAB 7.3 file: pip install h5py to read it, or save it again in MATLAB "
            "with -v7"
        ) from None
    with h5py.File(path) as file:
        return {name: item[()].T for name, item in file.items() if isinstance(item, h5py.Dataset)}


def _matrix(path: Path, content: dict[str, Any], name: str) -> Tensor:
    if name not in content:
        found = ", ".join(sorted(key for key in content if not key.startswith("__"))) or "nothing"
        raise CalibrationError(f"{path} has no matrix {name}; it has {found}")
    values = content[name]
    if values.ndim != 2 or values.dtype.kind != "f" or not math.isfinite(float(values.sum())):
        raise CalibrationError(
            f"{path}: {name} must be a finite real matrix, got {values.dtype} {values.shape}"
        )
    return torch.from_numpy(values.copy()).float()


def import_psf(
    path: str | Path,
    *,
    white_level: float,
    background: float | None = None,
    capture_black_level: float = 0.0,
) -> Camera:
    """Read a picture or array of a point spread function, as LenslessPiCam stores it.

    Parameters
    ----------
    path : path
        PNG, TIFF, NPY or NPZ: (height, width), (channels, height, width), or an array
        (1, height, width, channels) or (height, width, channels) of 1 or 3 channels.
    white_level : float
        Count at which captures of the camera saturate.
    background : float, optional
        Count without light in the PSF; the mean of its first ten rows and columns by default.
    capture_black_level : float, optional
        Count without light in captures.

    Returns
    -------
    Camera
        A shift-invariant camera whose PSF has unit energy over all channels together, so that
        colours keep their balance.

    Raises
    ------
    FileError
        The file cannot be read.
    CalibrationError
        It holds no PSF.
    """
    stored = read_raw(path).to(torch.float32)
    if stored.ndim == 4 and stored.shape[0] == 1:
        stored = stored[0]
    if stored.ndim == 3 and stored.shape[-1] in (1, 3):
        stored = stored.movedim(-1, 0)
    if stored.ndim not in (2, 3) or min(stored.shape[-2:]) < 20:
        raise CalibrationError(f"{path} holds no PSF of 20x20 or more, got {tuple(stored.shape)}")
    if background is None:
        background = float(stored[..., :10, :10].mean())
    psf = stored - background
    if not float(psf.sum()) > 0:
        raise CalibrationError(f"{path}: nothing in the PSF is brighter than {background:g}")
    single = psf.ndim == 3 and psf.shape[0] == 1
    psf = psf[0] if single else psf
    return Camera(
        name=Path(path).stem,
        frame_shape=tuple(psf.shape),
        white_level=white_level,
        black_level=capture_black_level,
        psf=psf / psf.norm(),
        provenance={"method": "imported", "file": Path(path).name, "background": background},
    )
