"""Pictures to train on: found in folders, read as linear light, cut at random."""

from collections.abc import Callable, Sequence
from functools import lru_cache
from pathlib import Path

import numpy as np
import torch
from torch import Tensor

from ...files import FileError, read_image

__all__ = ["PictureFolder", "find_pictures", "random_cut"]

SUFFIXES = (".png", ".jpg", ".jpeg", ".tif", ".tiff")
_PACKAGE = "skimage:"
_KEPT_SIDE = 1024  # pictures are held no larger than this along their short side
_CACHED = 64


def find_pictures(sources: Sequence[str | Path]) -> list[Path]:
    """List the pictures of folders, single files and scikit-image's own data.

    Parameters
    ----------
    sources : sequence of str or Path
        Folders, searched with what lies below them; files; or ``skimage:NAME``, a file that
        scikit-image ships, such as ``skimage:astronaut.png``.

    Returns
    -------
    list of Path
        In the order of the sources, each folder sorted.

    Raises
    ------
    FileNotFoundError
        A source does not exist or has no picture.
    """
    found: list[Path] = []
    for source in sources:
        path = _package_file(str(source)) if str(source).startswith(_PACKAGE) else Path(source)
        if path.is_dir():
            inside = sorted(file for file in path.rglob("*") if file.suffix.lower() in SUFFIXES)
        else:
            inside = [path] if path.is_file() else []
        if not inside:
            raise FileNotFoundError(f"no pictures at {source}")
        found += inside
    return found


def _package_file(source: str) -> Path:
    import skimage.data

    return Path(skimage.data.__file__).parent / source.removeprefix(_PACKAGE)


class PictureFolder:
    """Random cuts of a set of pictures, in linear light.

    A picture that cannot be read is reported once by name and never asked for again.

    Parameters
    ----------
    paths : sequence of Path
        The pictures, sRGB-encoded unless they are floating point.
    report : callable, optional
        Called with one line for every picture passed over.

    Raises
    ------
    ValueError
        There are no pictures.
    """

    def __init__(
        self, paths: Sequence[Path], *, report: Callable[[str], object] | None = None
    ) -> None:
        if not paths:
            raise ValueError("paths must name at least one picture")
        self._paths = list(paths)
        self._bad: set[Path] = set()
        self._report = report or (lambda line: None)
        self._read = lru_cache(maxsize=_CACHED)(_read_small)

    def __len__(self) -> int:
        return len(self._paths)

    def cut(self, side: int, *, seed: int) -> Tensor:
        """Cut a random square of a random picture; flip it and change its light.

        Parameters
        ----------
        side : int
            Height and width of the result.
        seed : int
            Seed of everything drawn.

        Returns
        -------
        Tensor of float32, shape (3, side, side)
            Linear light in [0, 1].

        Raises
        ------
        FileError
            None of the pictures can be read.
        """
        rng = np.random.default_rng(seed)
        for index in rng.permutation(len(self._paths)):
            path = self._paths[index]
            if path in self._bad:
                continue
            try:
                picture = self._read(path)
            except (FileError, OSError) as error:
                self._bad.add(path)
                self._report(f"passed over: {error}")
                continue
            return random_cut(picture.float(), side, rng)
        raise FileError(f"none of the {len(self._paths)} pictures could be read")


def _read_small(path: Path) -> Tensor:
    """Read a picture as RGB, no larger than needed, in half precision."""
    import cv2

    image = read_image(path, encoding="srgb", alpha="drop")
    image = image.expand(3, *image.shape[-2:])
    zoom = _KEPT_SIDE / min(image.shape[-2:])
    if zoom >= 1:
        return image.half()
    height, width = (max(1, round(zoom * length)) for length in image.shape[-2:])
    rows = image.permute(1, 2, 0).contiguous().numpy()
    small = cv2.resize(rows, (width, height), interpolation=cv2.INTER_AREA)
    return torch.from_numpy(small).permute(2, 0, 1).contiguous().half()


def random_cut(picture: Tensor, side: int, rng: np.random.Generator) -> Tensor:
    """Cut, flip and relight a picture of shape (3, height, width) in linear light."""
    import cv2

    height, width = picture.shape[-2:]
    part = max(1, round(min(height, width) * rng.uniform(0.4, 1.0)))
    top = int(rng.integers(height - part + 1))
    left = int(rng.integers(width - part + 1))
    square = picture[:, top : top + part, left : left + part].permute(1, 2, 0).contiguous().numpy()
    # Averaging where it shrinks and linear where it grows: neither overshoots.
    mode = cv2.INTER_AREA if part > side else cv2.INTER_LINEAR
    square = cv2.resize(square, (side, side), interpolation=mode)
    if rng.random() < 0.5:
        square = square[:, ::-1]
    light = torch.from_numpy(np.ascontiguousarray(square.transpose(2, 0, 1)))
    balance = torch.from_numpy(np.exp(rng.normal(0, 0.1, (3, 1, 1)))).float()
    return (light * balance * float(np.exp(rng.uniform(-0.7, 0.3)))).clamp(0, 1)
