"""Integrity of PNG files: what a decoder is not asked about, or says nothing of."""

import struct
import zlib
from collections.abc import Iterator
from dataclasses import dataclass, replace

__all__ = ["PngHeader", "check_png"]

_COLOUR_TYPES = (0, 2, 3, 4, 6)


@dataclass(frozen=True)
class PngHeader:
    """What the IHDR chunk says; ``alpha`` is also true for a transparent colour (tRNS)."""

    width: int
    height: int
    bit_depth: int
    colour_type: int
    alpha: bool

    @property
    def palette(self) -> bool:
        """Whether pixels are indices into a table of colours."""
        return self.colour_type == 3


def check_png(content: bytes, max_pixels: int) -> PngHeader:
    """Check every chunk's checksum and that the file ends.

    That no pixel is missing within good checksums is for the decoder to find.

    Parameters
    ----------
    content : bytes
        The whole file.
    max_pixels : int
        Most pixels to accept, checked before anything is decompressed.

    Raises
    ------
    ValueError
        What is wrong, without the file's name.
    """
    header: PngHeader | None = None
    transparent = False
    for kind, body in _chunks(content):
        if header is None:
            header = _parse_header(kind, body, max_pixels)
        elif kind == b"tRNS":
            transparent = True
    if header is None:
        raise ValueError("it has no chunks")
    return replace(header, alpha=header.alpha or transparent)


def _chunks(content: bytes) -> Iterator[tuple[bytes, memoryview]]:
    view = memoryview(content)
    start = 8
    kind = b""
    while kind != b"IEND":
        if start + 12 > len(content):
            raise ValueError(f"it is truncated: {len(content)} bytes, no end chunk")
        length, kind = struct.unpack_from(">I4s", content, start)
        end = start + 12 + length
        if end > len(content):
            name = kind.decode("ascii", "replace")
            raise ValueError(
                f"it is truncated: chunk {name} ends at byte {end}, the file at {len(content)}"
            )
        if zlib.crc32(view[start + 4 : end - 4]) != struct.unpack_from(">I", content, end - 4)[0]:
            raise ValueError(f"it is damaged: wrong checksum in the chunk at byte {start}")
        yield kind, view[start + 8 : end - 4]
        start = end


def _parse_header(kind: bytes, body: memoryview, max_pixels: int) -> PngHeader:
    if kind != b"IHDR" or len(body) != 13:
        raise ValueError("its first chunk is not a PNG header")
    width, height, bit_depth, colour_type, _, _, _ = struct.unpack(">IIBBBBB", body)
    if colour_type not in _COLOUR_TYPES or width == 0 or height == 0:
        raise ValueError(f"its header is not valid: {width}x{height}, colour type {colour_type}")
    if width * height > max_pixels:
        raise ValueError(f"it has {width}x{height} pixels, more than max_pixels={max_pixels}")
    alpha = colour_type in (4, 6)
    return PngHeader(width, height, bit_depth, colour_type, alpha)
