"""Integrity of PNG files: libpng decodes a damaged one in part and says nothing to its caller."""

import struct
import zlib
from collections.abc import Iterator
from dataclasses import dataclass, replace

__all__ = ["PngHeader", "check_png"]

_CHANNELS = {0: 1, 2: 3, 3: 1, 4: 2, 6: 4}
# Adam7: (first row, first column, row step, column step) of each pass.
_PASSES = (
    (0, 0, 8, 8),
    (0, 4, 8, 8),
    (4, 0, 8, 4),
    (0, 2, 4, 4),
    (2, 0, 4, 2),
    (0, 1, 2, 2),
    (1, 0, 2, 1),
)
_PIECE = 1 << 20  # bytes decompressed at a time


@dataclass(frozen=True)
class PngHeader:
    """What the IHDR chunk says; ``alpha`` is also true for a transparent colour (tRNS)."""

    width: int
    height: int
    bit_depth: int
    colour_type: int
    interlaced: bool
    alpha: bool

    @property
    def palette(self) -> bool:
        """Whether pixels are indices into a table of colours."""
        return self.colour_type == 3

    def data_size(self) -> int:
        """Bytes of the pixels before compression, one filter byte to each row."""
        passes = _PASSES if self.interlaced else ((0, 0, 1, 1),)
        bits = self.bit_depth * _CHANNELS[self.colour_type]
        total = 0
        for row, column, row_step, column_step in passes:
            rows = -(-(self.height - row) // row_step)
            columns = -(-(self.width - column) // column_step)
            if rows > 0 and columns > 0:
                total += rows * (1 + -(-columns * bits // 8))
        return total


def check_png(content: bytes, max_pixels: int) -> PngHeader:
    """Check every chunk's checksum, that the file ends, and that no pixel is missing.

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
    pixels = []
    for kind, body in _chunks(content):
        if header is None:
            header = _parse_header(kind, body, max_pixels)
        elif kind == b"tRNS":
            transparent = True
        elif kind == b"IDAT":
            pixels.append(body)
    if header is None:
        raise ValueError("it has no chunks")
    _check_pixels(pixels, header.data_size())
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
    width, height, bit_depth, colour_type, _, _, interlace = struct.unpack(">IIBBBBB", body)
    if colour_type not in _CHANNELS or width == 0 or height == 0:
        raise ValueError(f"its header is not valid: {width}x{height}, colour type {colour_type}")
    if width * height > max_pixels:
        raise ValueError(f"it has {width}x{height} pixels, more than max_pixels={max_pixels}")
    alpha = colour_type in (4, 6)
    return PngHeader(width, height, bit_depth, colour_type, interlace == 1, alpha)


def _check_pixels(pixels: list[memoryview], wanted: int) -> None:
    inflater = zlib.decompressobj()
    size = 0
    for body in [*pixels, memoryview(b"")]:
        pending: bytes | memoryview = body
        piece_size = _PIECE
        # A full piece may have more behind it even when all input is taken.
        while size < wanted and (pending or piece_size == _PIECE):
            piece_size = len(inflater.decompress(pending, _PIECE))
            pending = inflater.unconsumed_tail
            size += piece_size
    if size < wanted:
        raise ValueError(f"its pixels are incomplete: {size} of {wanted} bytes")
