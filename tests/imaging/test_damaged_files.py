"""A file that cannot be read in full is an error of one line, never a picture in part."""

import os
import struct
import zlib

import cv2
import numpy as np
import pytest
import tifffile
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from PIL import Image

from barelens.imaging.files import FileError, read_raw, write_png, write_raw_png16, write_tiff

few = settings(max_examples=60, deadline=None)
rows, columns = np.mgrid[:24, :30]
PICTURE = np.stack([rows * 8, columns * 8, rows + columns], -1).astype(np.uint8)
FRAME = (rows * 2000 + columns * 37).astype(np.uint16)


def _save_png16(path):
    write_raw_png16(path, torch.from_numpy(FRAME))


def _save_png_colour(path):
    write_png(path, torch.from_numpy(PICTURE))


def _save_png_interlaced(path):
    path.write_bytes(_png(PICTURE[..., 0], interlaced=True))


def _save_tiff(path):
    write_tiff(path, torch.from_numpy(FRAME))


WRITERS = {
    "png16.png": _save_png16,
    "colour.png": _save_png_colour,
    "interlaced.png": _save_png_interlaced,
    "plain.tif": _save_tiff,
    "deflate.tif": lambda path: tifffile.imwrite(path, FRAME, compression="zlib"),
    "lzw.tif": lambda path: cv2.imwrite(str(path), PICTURE, [cv2.IMWRITE_TIFF_COMPRESSION, 5]),
    "tiled.tif": lambda path: tifffile.imwrite(path, FRAME, tile=(16, 16)),
    "array.npy": lambda path: np.save(path, FRAME),
    "stored.npz": lambda path: np.savez(path, frame=FRAME),
    "deflated.npz": lambda path: np.savez_compressed(path, frame=FRAME),
    "baseline.jpg": lambda path: Image.fromarray(PICTURE).save(path),
    "progressive.jpg": lambda path: Image.fromarray(PICTURE).save(path, progressive=True),
}
CHECKSUMMED = [name for name in WRITERS if name.endswith((".png", ".npz"))]


def _chunk(kind, body):
    return struct.pack(">I", len(body)) + kind + body + struct.pack(">I", zlib.crc32(kind + body))


def _png(grey, *, interlaced=False, rows_kept=None, width=None):
    """Encode 8-bit grey by hand, to write what encoders do not."""
    passes = [(0, 0, 1, 1)]
    if interlaced:
        passes = [(0, 0, 8, 8), (0, 4, 8, 8), (4, 0, 8, 4), (0, 2, 4, 4), (2, 0, 4, 2)]
        passes += [(0, 1, 2, 2), (1, 0, 2, 1)]
    lines = [
        b"\0" + line.tobytes()
        for row, column, down, right in passes
        for line in grey[row::down, column::right]
        if line.size
    ]
    header = struct.pack(
        ">IIBBBBB", width or grey.shape[1], grey.shape[0], 8, 0, 0, 0, int(interlaced)
    )
    return (
        b"\x89PNG\r\n\x1a\n"
        + _chunk(b"IHDR", header)
        + _chunk(b"IDAT", zlib.compress(b"".join(lines[:rows_kept])))
        + _chunk(b"IEND", b"")
    )


@pytest.fixture(scope="module")
def files(tmp_path_factory):
    """The bytes of a good file of each kind, and a folder to spoil them in."""
    folder = tmp_path_factory.mktemp("damaged")
    contents = {}
    for name, write in WRITERS.items():
        write(folder / name)
        contents[name] = (folder / name).read_bytes()
    return folder, contents


def assert_clear(error, path):
    message = str(error.value)
    assert message.startswith(f"{path}: ")
    assert "\n" not in message


@pytest.mark.parametrize("name", WRITERS)
def test_the_good_file_reads(files, name):
    folder, contents = files
    path = folder / name
    path.write_bytes(contents[name])
    raw = read_raw(path)
    if name.endswith(".jpg") or "colour" in name or "lzw" in name:
        assert raw.shape == (3, *FRAME.shape)
    else:
        wanted = PICTURE[..., 0] if "interlaced" in name else FRAME
        assert np.array_equal(raw.numpy(), wanted)


@pytest.mark.parametrize("name", WRITERS)
@few
@given(share=st.floats(0, 1, exclude_max=True))
def test_a_file_truncated_anywhere_is_an_error(files, name, share):
    folder, contents = files
    path = folder / name
    path.write_bytes(contents[name][: int(share * len(contents[name]))])
    with pytest.raises(FileError) as error:
        read_raw(path)
    assert_clear(error, path)


@pytest.mark.parametrize("name", WRITERS)
@pytest.mark.parametrize("missing", [1, 2, 3, 4, 11, 12, 13])
def test_a_file_short_of_its_last_bytes_is_an_error(files, name, missing):
    folder, contents = files
    path = folder / name
    path.write_bytes(contents[name][:-missing])
    with pytest.raises(FileError) as error:
        read_raw(path)
    assert_clear(error, path)


@pytest.mark.parametrize("name", WRITERS)
@few
@given(data=st.data())
def test_a_damaged_byte_is_an_error_or_seen_as_a_value(files, name, data):
    folder, contents = files
    path = folder / name
    content = bytearray(contents[name])
    content[data.draw(st.integers(0, len(content) - 1))] ^= data.draw(st.integers(1, 255))
    path.write_bytes(contents[name])
    good = read_raw(path).numpy()
    path.write_bytes(content)
    try:
        raw = read_raw(path)
    except FileError as error:
        assert str(error).startswith(f"{path}: ")
        return
    # A checksum leaves only fields that say nothing about the values, such as a date.
    assert name not in CHECKSUMMED or np.array_equal(raw.numpy(), good)


def test_a_png_is_checked_to_its_last_byte(files):
    folder, contents = files
    path = folder / "end.png"
    content = contents["png16.png"]
    path.write_bytes(content[:-1] + bytes([content[-1] ^ 1]))
    with pytest.raises(FileError, match=f"wrong checksum in the chunk at byte {len(content) - 12}"):
        read_raw(path)


def test_a_png_with_rows_missing_behind_good_checksums_is_an_error(tmp_path):
    path = tmp_path / "short.png"
    path.write_bytes(_png(PICTURE[..., 0], rows_kept=20))
    with pytest.raises(FileError, match="its pixels cannot be decoded"):
        read_raw(path)


@pytest.mark.parametrize("spoil", ["half", "a byte short", "checksum", "garbage"])
def test_pixels_that_are_damaged_behind_good_checksums_are_an_error(tmp_path, spoil):
    lines = b"".join(b"\0" + line.astype(">u2").tobytes() for line in FRAME)
    pixels = zlib.compress(lines)
    spoiled = {
        "half": pixels[: len(pixels) // 2],
        "a byte short": zlib.compress(lines[:-1]),
        "checksum": pixels[:-1] + bytes([pixels[-1] ^ 1]),
        "garbage": pixels[:40] + bytes(20) + pixels[60:],
    }
    _save_png16(tmp_path / "good.png")
    header = (tmp_path / "good.png").read_bytes()[:33]
    for content, name in ((pixels, "whole.png"), (spoiled[spoil], "spoiled.png")):
        (tmp_path / name).write_bytes(header + _chunk(b"IDAT", content) + _chunk(b"IEND", b""))
    assert np.array_equal(read_raw(tmp_path / "whole.png").numpy(), FRAME)
    with pytest.raises(FileError, match="its pixels cannot be decoded"):
        read_raw(tmp_path / "spoiled.png")


def test_a_png_with_an_unknown_row_filter_is_an_error(tmp_path):
    path = tmp_path / "filter.png"
    lines = b"\7" + bytes(30)
    header = struct.pack(">IIBBBBB", 30, 1, 8, 0, 0, 0, 0)
    path.write_bytes(
        b"\x89PNG\r\n\x1a\n"
        + _chunk(b"IHDR", header)
        + _chunk(b"IDAT", zlib.compress(lines))
        + _chunk(b"IEND", b"")
    )
    with pytest.raises(FileError) as error:
        read_raw(path)
    assert_clear(error, path)


@pytest.mark.parametrize("suffix", [".png", ".tif", ".npy", ".npz", ".jpg", ".dng"])
def test_text_and_nothing_are_told_from_a_picture(tmp_path, suffix):
    if suffix == ".dng":
        pytest.importorskip("rawpy")
    path = tmp_path / f"file{suffix}"
    for content in (b"", b"this is not a picture\n" * 20):
        path.write_bytes(content)
        with pytest.raises(FileError, match="cannot be read as") as error:
            read_raw(path)
        assert_clear(error, path)


def test_missing_files_folders_and_unknown_suffixes_are_named(tmp_path):
    with pytest.raises(FileError, match="No such file"):
        read_raw(tmp_path / "nowhere.png")
    (tmp_path / "folder.png").mkdir()
    with pytest.raises(FileError, match="is a folder"):
        read_raw(tmp_path / "folder.png")
    (tmp_path / "notes.txt").write_text("hello")
    with pytest.raises(FileError, match=r"unknown suffix '\.txt'; known are \.png"):
        read_raw(tmp_path / "notes.txt")


@pytest.mark.skipif(os.name != "posix" or os.geteuid() == 0, reason="root may read all")
def test_a_file_without_permission_is_named(tmp_path):
    path = tmp_path / "secret.png"
    path.touch(mode=0)
    with pytest.raises(FileError, match="Permission denied"):
        read_raw(path)


@pytest.mark.parametrize("name", WRITERS)
def test_the_size_limit_holds_for_every_format(files, name):
    folder, contents = files
    path = folder / name
    path.write_bytes(contents[name])
    values = read_raw(path).numel()
    read_raw(path, max_pixels=values)
    with pytest.raises(FileError, match="more than max_pixels=719") as error:
        read_raw(path, max_pixels=FRAME.size - 1)
    assert_clear(error, path)


def test_a_header_that_claims_too_much_is_refused_before_decoding(tmp_path):
    path = tmp_path / "bomb.png"
    path.write_bytes(_png(PICTURE[..., 0], width=2**31 - 1))
    with pytest.raises(FileError, match="more than max_pixels"):
        read_raw(path)
    path = tmp_path / "bomb.npy"
    with path.open("wb") as stream:
        header = {"descr": "<f8", "fortran_order": False, "shape": (2**40,)}
        np.lib.format.write_array_header_1_0(stream, header)
    with pytest.raises(FileError, match="more than max_pixels"):
        read_raw(path)


def test_several_pages_and_odd_colours_are_refused(tmp_path):
    path = tmp_path / "image.tif"
    tifffile.imwrite(path, np.zeros((3, 8, 9), np.uint16), photometric="minisblack")
    with pytest.raises(FileError, match=r"3 pages|stack of shape \(3, 8, 9\)"):
        read_raw(path)
    tifffile.imwrite(path, FRAME, photometric="miniswhite")
    with pytest.raises(FileError, match="MINISWHITE"):
        read_raw(path)
    path = tmp_path / "image.jpg"
    Image.fromarray(np.zeros((8, 9, 4), np.uint8), "CMYK").save(path)
    with pytest.raises(FileError, match="CMYK"):
        read_raw(path)
    path = tmp_path / "image.png"
    Image.fromarray(np.zeros((8, 9), bool)).save(path)
    with pytest.raises(FileError, match="1 bits a sample"):
        read_raw(path)


def test_arrays_that_are_no_numbers_are_refused(tmp_path):
    path = tmp_path / "array.npy"
    np.save(path, np.array([{"a": 1}], dtype=object), allow_pickle=True)
    with pytest.raises(FileError, match="Python objects"):
        read_raw(path)
    for array in (np.array(["text"]), np.zeros(3, np.complex64)):
        np.save(path, array)
        with pytest.raises(FileError, match="wanted integers or floating point"):
            read_raw(path)


def test_an_npy_with_more_than_one_array_is_refused(tmp_path):
    path = tmp_path / "array.npy"
    with path.open("wb") as stream:
        np.save(stream, FRAME)
        np.save(stream, FRAME)
    with pytest.raises(FileError, match="more data behind its array"):
        read_raw(path)


def test_arrays_of_an_npz_are_named(tmp_path):
    path = tmp_path / "arrays.npz"
    np.savez(path, left=FRAME, right=FRAME)
    with pytest.raises(FileError, match="holds 2 arrays, name one of: left, right"):
        read_raw(path)
    with pytest.raises(FileError, match="no array 'up', only: left, right"):
        read_raw(path, name="up")
    _save_png16(tmp_path / "frame.png")
    with pytest.raises(FileError, match="only NPZ files have named arrays"):
        read_raw(tmp_path / "frame.png", name="left")
