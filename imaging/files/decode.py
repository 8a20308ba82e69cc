"""Decoders of each file format: pixels exactly as stored, or a clear error."""

import math
import struct
import zipfile
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import IO, Any

import numpy as np
from numpy.typing import NDArray

from .errors import FileError
from .png import check_png

__all__ = ["SUFFIXES", "Stored", "decode"]


@dataclass(frozen=True, eq=False)
class Stored:
    """What a file holds.

    Attributes
    ----------
    array : array, shape (height, width), (channels, height, width) or any for NPY and NPZ
        Values as stored; colour in the order red, green, blue.
    alpha : bool
        Whether the last channel is opacity.
    palette : bool
        Whether colours came out of a table.
    mosaic : bool
        Whether every pixel has one colour of a pattern.
    description : str
        The TIFF image description.
    """

    array: NDArray[Any]
    alpha: bool = False
    palette: bool = False
    mosaic: bool = False
    description: str = ""


@dataclass(frozen=True)
class _Request:
    path: Path
    max_pixels: int
    name: str | None
    upright: bool

    def check_size(self, *shape: int) -> None:
        if math.prod(shape) > self.max_pixels:
            sizes = "x".join(map(str, shape))
            raise ValueError(f"it has {sizes} values, more than max_pixels={self.max_pixels}")


@dataclass(frozen=True)
class _Format:
    name: str
    decode: Callable[[_Request], Stored]
    magic: tuple[bytes, ...] = ()  # none where makers differ


def decode(
    path: Path, *, max_pixels: int, name: str | None = None, upright: bool = False
) -> Stored:
    """Decode a file by its suffix.

    Parameters
    ----------
    path : Path
        The file.
    max_pixels : int
        Most pixels, in TIFF, NPY and NPZ most values, to accept; checked before decoding.
    name : str, optional
        Which array of an NPZ file.
    upright : bool, optional
        Whether to turn a JPEG as its EXIF orientation says.

    Raises
    ------
    FileError
        The file cannot be read in full.
    ImportError
        The format needs a package that is not installed; the message says which.
    """
    if path.is_dir():
        raise FileError(f"{path}: is a folder, not a file")
    file_format = _FORMATS.get(path.suffix.lower())
    if file_format is None:
        known = " ".join(_FORMATS)
        raise FileError(f"{path}: unknown suffix {path.suffix!r}; known are {known}")
    if name is not None and file_format.name != "NPZ":
        raise FileError(f"{path}: has no array named {name!r}; only NPZ files have named arrays")
    try:
        start = _first_bytes(path)
    except OSError as error:
        raise FileError(f"{path}: {error.strerror or error}") from error
    try:
        _check_magic(start, file_format)
        return file_format.decode(_Request(path, max_pixels, name, upright))
    except (ImportError, MemoryError):
        raise
    # A damaged file makes the libraries raise anything, from IndexError to their own classes.
    except Exception as error:
        problem = " ".join(str(error).split()) or type(error).__name__
        raise FileError(f"{path}: cannot be read as {file_format.name}: {problem}") from error


def _first_bytes(path: Path) -> bytes:
    with path.open("rb") as stream:
        return stream.read(16)


def _check_magic(start: bytes, file_format: _Format) -> None:
    if not start:
        raise ValueError("it is empty")
    if file_format.magic and not start.startswith(file_format.magic):
        raise ValueError(f"it does not begin as one but with {start[:8]!r}")


def _decode_png(request: _Request) -> Stored:
    content = request.path.read_bytes()
    header = check_png(content, request.max_pixels)
    if header.bit_depth < 8 and not header.palette:
        raise ValueError(f"it has {header.bit_depth} bits a sample, wanted 8 or 16")
    array = _decode_opencv(content)
    if header.alpha and array.ndim == 2:
        raise ValueError("it has a transparent grey level, wanted an alpha channel or none")
    if header.colour_type == 4:
        array = array[[0, -1]]  # OpenCV repeats the grey in three channels
    return Stored(array, alpha=header.alpha, palette=header.palette)


def _decode_opencv(content: bytes) -> NDArray[Any]:
    """Decode to (height, width) or (channels, height, width), colour as RGB or RGBA."""
    import cv2

    array = cv2.imdecode(np.frombuffer(content, np.uint8), cv2.IMREAD_UNCHANGED)
    if array is None:
        raise ValueError("its pixels cannot be decoded")
    if array.ndim == 2:
        return array
    channels = np.moveaxis(array, -1, 0)
    return np.concatenate([channels[2::-1], channels[3:]])


def _decode_jpeg(request: _Request) -> Stored:
    from PIL import ImageOps

    # Not Image.open, whose own limit on the number of pixels is lower than ours.
    from PIL.JpegImagePlugin import JpegImageFile

    with JpegImageFile(request.path) as image:
        request.check_size(image.height, image.width)
        if image.mode not in ("L", "RGB"):
            raise ValueError(f"its colours are {image.mode}, wanted grey or RGB")
        array = np.array(ImageOps.exif_transpose(image) if request.upright else image)
    return Stored(array if array.ndim == 2 else np.moveaxis(array, -1, 0))


def _decode_tiff(request: _Request) -> Stored:
    import tifffile

    with tifffile.TiffFile(request.path) as tiff:
        if len(tiff.pages) != 1:
            raise ValueError(f"it has {len(tiff.pages)} pages, wanted 1")
        page = tiff.pages.first
        colours = tifffile.PHOTOMETRIC(page.photometric)
        if colours not in (tifffile.PHOTOMETRIC.MINISBLACK, tifffile.PHOTOMETRIC.RGB):
            raise ValueError(f"its colours are {colours.name}, wanted MINISBLACK or RGB")
        if tiff.series[0].shape != page.shape:
            raise ValueError(f"it holds a stack of shape {tiff.series[0].shape}, wanted one image")
        request.check_size(*page.shape)
        _check_segments(page, tiff.filehandle.size)
        if page.compression == tifffile.COMPRESSION.LZW:
            array = _decode_lzw(page, tiff.byteorder, request.path.read_bytes())
        else:
            array = page.asarray()
            if page.axes.endswith("S"):
                array = np.moveaxis(array, -1, 0)
        # Some writers, OpenCV for one, leave out the tag that says a fourth sample is opacity.
        untagged = colours == tifffile.PHOTOMETRIC.RGB and page.samplesperpixel == 4
        tagged = not {1, 2}.isdisjoint(map(int, page.extrasamples))
        alpha = array.ndim == 3 and (tagged or untagged)
        return Stored(array, alpha=alpha, description=page.description)


def _decode_lzw(page: Any, byteorder: str, content: bytes) -> NDArray[Any]:
    """Decode with OpenCV's libtiff, since tifffile needs one more package for this."""
    orientation = page.tags.get("Orientation")
    if orientation is not None:  # OpenCV would turn the image
        start = orientation.valueoffset
        upright = struct.pack(f"{byteorder}H", 1)
        content = content[:start] + upright + content[start + len(upright) :]
    array = _decode_opencv(content)
    if array.size != page.size or array.dtype != page.dtype:
        raise ValueError(f"it decodes to {array.shape} of {array.dtype}, not to {page.shape}")
    return array


def _check_segments(page: Any, file_size: int) -> None:
    """Require every strip or tile to lie within the file."""
    if len(page.dataoffsets) != len(page.databytecounts):
        raise ValueError("it is damaged: its strips or tiles have no place or size")
    ends = [
        offset + count
        for offset, count in zip(page.dataoffsets, page.databytecounts, strict=True)
        if count > 0
    ]
    per_plane = math.prod(page.chunked)
    if len(ends) < per_plane:
        raise ValueError(f"its pixels are incomplete: {len(ends)} of {per_plane} strips or tiles")
    if max(ends) > file_size:
        raise ValueError(f"it is truncated: pixels up to byte {max(ends)}, {file_size} are there")


def _decode_npy(request: _Request) -> Stored:
    with request.path.open("rb") as stream:
        return Stored(_read_npy(stream, request))


def _decode_npz(request: _Request) -> Stored:
    with zipfile.ZipFile(request.path) as archive:
        names = [member.removesuffix(".npy") for member in archive.namelist()]
        if request.name is None and len(names) != 1:
            raise ValueError(f"it holds {len(names)} arrays, name one of: {', '.join(names)}")
        name = names[0] if request.name is None else request.name
        if name not in names:
            raise ValueError(f"it has no array {name!r}, only: {', '.join(names)}")
        with archive.open(f"{name}.npy") as stream:
            return Stored(_read_npy(stream, request))


def _read_npy(stream: IO[bytes], request: _Request) -> NDArray[Any]:
    version = np.lib.format.read_magic(stream)
    if version == (1, 0):
        shape, _, dtype = np.lib.format.read_array_header_1_0(stream)
    elif version == (2, 0):
        shape, _, dtype = np.lib.format.read_array_header_2_0(stream)
    else:
        raise ValueError(f"its NPY format version is {version}, wanted (1, 0) or (2, 0)")
    if dtype.hasobject:
        raise ValueError("it holds Python objects, which are never loaded")
    request.check_size(*shape)
    stream.seek(0)
    array = np.lib.format.read_array(stream, allow_pickle=False)
    if stream.read(1):  # reading to the end also makes zipfile check its checksum
        raise ValueError("it has more data behind its array")
    return array


def _decode_raw(request: _Request) -> Stored:
    try:
        import rawpy
    except ImportError as error:
        raise ImportError(
            f"{request.path} needs rawpy to be read: pip install 'barelens[raw]'"
        ) from error
    try:
        with rawpy.RawPy() as raw:
            raw.open_file(str(request.path))
            request.check_size(raw.sizes.height, raw.sizes.width)
            raw.unpack()
            if raw.raw_type != rawpy.RawType.Flat:
                raise ValueError("it is not a mosaic with one value to each pixel")
            return Stored(raw.raw_image_visible.copy(), mosaic=True)
    except rawpy.LibRawError as error:  # its message is bytes
        raise ValueError(error.args[0].decode()) from error


_PNG = _Format("PNG", _decode_png, (b"\x89PNG\r\n\x1a\n",))
_JPEG = _Format("JPEG", _decode_jpeg, (b"\xff\xd8\xff",))
_TIFF = _Format("TIFF", _decode_tiff, (b"II*\0", b"MM\0*", b"II+\0", b"MM\0+"))
_RAW = _Format("camera raw", _decode_raw)
_FORMATS = {
    ".png": _PNG,
    ".jpg": _JPEG,
    ".jpeg": _JPEG,
    ".tif": _TIFF,
    ".tiff": _TIFF,
    ".npy": _Format("NPY", _decode_npy, (b"\x93NUMPY",)),
    ".npz": _Format("NPZ", _decode_npz, (b"PK\x03\x04",)),
    **dict.fromkeys((".dng", ".arw", ".cr2", ".cr3", ".nef", ".orf", ".raf", ".rw2"), _RAW),
}

#: Of every file that can be read.
SUFFIXES = frozenset(_FORMATS)
