"""Files from strangers: read with limits, refused in words that help."""

import zipfile
from pathlib import Path, PurePosixPath
from typing import TYPE_CHECKING, Any

import torch
from torch import Tensor

from ...calibration import Camera
from ...imaging.files import FileError, read_raw, srgb_to_linear
from .choices import MAX_PIXELS, MAX_UPLOAD_MB, MAX_ZIP_FILES, MAX_ZIP_MB

if TYPE_CHECKING:
    from PIL import Image

__all__ = ["UploadError", "read_camera", "read_capture", "read_picture", "unpack"]

_PICTURES = ("JPEG", "PNG", "TIFF", "WEBP")
_LEAST_SIDE = 16
_CAPTURES = (".png", ".tif", ".tiff", ".npy", ".dng", ".jpg", ".jpeg", ".json")


class UploadError(ValueError):
    """An uploaded file cannot be used; the message names it without its place on the server."""


def read_capture(path: Path) -> Tensor:
    """Read an uploaded raw frame, exactly as stored.

    Raises
    ------
    UploadError
        It is too large, or no raw frame that can be read.
    """
    _check_bytes(path)
    try:
        raw = read_raw(path, max_pixels=MAX_PIXELS)
    except (FileError, ImportError, MemoryError) as error:
        raise UploadError(_without_folder(path, error)) from None
    if raw.ndim not in (2, 3):
        raise UploadError(f"{path.name}: has shape {tuple(raw.shape)}, a raw frame has 2 or 3 axes")
    return raw


def read_picture(path: Path) -> Tensor:
    """Read an uploaded picture as linear light.

    Returns
    -------
    Tensor of float32, shape (3, height, width)
        In [0, 1]. Opacity is dropped, colour profiles are taken for sRGB, EXIF turns it upright.

    Raises
    ------
    UploadError
        It is too large, too small, or no picture.
    """
    from PIL import Image, ImageOps

    _check_bytes(path)
    try:
        with Image.open(path, formats=_PICTURES) as image:
            _check_size(path, image)
            upright = ImageOps.exif_transpose(image)
            levels = torch.frombuffer(
                bytearray(upright.convert("RGB").tobytes()), dtype=torch.uint8
            )
            width, height = upright.size
    except UploadError:
        raise
    except Image.DecompressionBombError:
        raise UploadError(_too_large(path, "over 178 million")) from None
    except MemoryError:
        raise UploadError(f"{path.name}: does not fit into memory") from None
    # A damaged picture makes the decoders raise anything.
    except Exception:
        raise UploadError(
            f"{path.name}: is damaged or no picture; PNG, JPEG, TIFF and WebP can be read"
        ) from None
    encoded = levels.reshape(height, width, 3).permute(2, 0, 1).float() / 255
    return srgb_to_linear(encoded)


def _check_size(path: Path, image: "Image.Image") -> None:
    width, height = image.size
    if width * height > MAX_PIXELS:
        raise UploadError(_too_large(path, f"{width}x{height}"))
    if min(width, height) < _LEAST_SIDE:
        raise UploadError(
            f"{path.name}: is {width}x{height} pixels, wanted at least {_LEAST_SIDE}x{_LEAST_SIDE}"
        )


def _too_large(path: Path, pixels: str) -> str:
    return f"{path.name}: has {pixels} pixels, at most {MAX_PIXELS // 10**6} million are taken"


def read_camera(path: Path) -> Camera:
    """Read an uploaded camera record.

    Raises
    ------
    UploadError
        It is too large, or no camera record.
    """
    _check_bytes(path)
    try:
        return Camera.load(path)
    except (ValueError, TypeError, KeyError, OSError, MemoryError) as error:
        raise UploadError(_without_folder(path, error)) from None


def unpack(path: Path, folder: Path) -> None:
    """Unpack an uploaded zip of captures into a folder, without its own folders.

    Sizes are counted while unpacking, because what a zip says of itself may be untrue.

    Raises
    ------
    UploadError
        It is no zip, holds too much, or two files of one name.
    """
    _check_bytes(path)
    left = MAX_ZIP_MB * 10**6
    try:
        with zipfile.ZipFile(path) as archive:
            entries = [entry for entry in archive.infolist() if not entry.is_dir()]
            if len(entries) > MAX_ZIP_FILES:
                raise UploadError(
                    f"{path.name}: holds {len(entries)} files, at most {MAX_ZIP_FILES} are taken"
                )
            for entry in entries:
                name = PurePosixPath(entry.filename.replace("\\", "/")).name
                if name.startswith(".") or Path(name).suffix.lower() not in _CAPTURES:
                    continue
                left -= _unpack_one(archive, entry, folder / name, left, path.name)
    except (zipfile.BadZipFile, NotImplementedError, RuntimeError, OSError, EOFError) as error:
        raise UploadError(f"{path.name}: cannot be read as a zip: {error}") from None


def _unpack_one(
    archive: zipfile.ZipFile, entry: zipfile.ZipInfo, target: Path, left: int, name: str
) -> int:
    """Unpack one file; return how many bytes it has."""
    if target.exists():
        raise UploadError(f"{name}: holds {target.name} twice")
    with archive.open(entry) as source, target.open("wb") as sink:
        while piece := source.read(1 << 20):
            if sink.tell() + len(piece) > left:
                raise UploadError(f"{name}: unpacks to more than {MAX_ZIP_MB} MB")
            sink.write(piece)
        return sink.tell()


def _check_bytes(path: Path) -> None:
    size = path.stat().st_size
    if size == 0:
        raise UploadError(f"{path.name}: is empty")
    if size > MAX_UPLOAD_MB * 10**6:
        raise UploadError(
            f"{path.name}: has {size / 1e6:.0f} MB, at most {MAX_UPLOAD_MB} MB are taken"
        )


def _without_folder(path: Path, error: Any) -> str:
    message = str(error).replace(str(path), path.name)
    return message if path.name in message else f"{path.name}: {message}"
