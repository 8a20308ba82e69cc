"""Reading and writing of pictures, raw sensor frames and arrays."""

from .atomic import atomic_path
from .colour import linear_to_srgb, srgb_to_linear
from .errors import FileError
from .read import read_image, read_raw, read_tiff16
from .write import Clipped, write_json, write_png, write_raw_png16, write_tiff, write_tiff16

__all__ = [
    "Clipped",
    "FileError",
    "atomic_path",
    "linear_to_srgb",
    "read_image",
    "read_raw",
    "read_tiff16",
    "srgb_to_linear",
    "write_json",
    "write_png",
    "write_raw_png16",
    "write_tiff",
    "write_tiff16",
]
