"""Readers: raw frames exactly as stored, pictures as linear light."""

import sys

import cv2
import numpy as np
import pytest
import tifffile
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.extra.numpy import array_shapes, arrays
from PIL import Image

from barelens.imaging.files import (
    FileError,
    read_image,
    read_raw,
    srgb_to_linear,
    write_png,
    write_raw_png16,
    write_tiff,
)

few = settings(max_examples=30, deadline=None)
sides = st.integers(1, 9)
frames = st.tuples(sides, sides)
pictures = st.tuples(sides, sides, st.just(3))
images = st.one_of(frames, st.tuples(st.just(3), sides, sides))
real_dtypes = st.sampled_from(
    [np.uint8, np.uint16, np.int16, np.int32, np.uint32, np.int64, np.float16, np.float32]
)


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    return tmp_path_factory.mktemp("files")


def same(tensor, array):
    """Equal values, shape and dtype; NaN is equal to itself."""
    return tensor.numpy().dtype == array.dtype and np.array_equal(
        tensor.numpy(), array, equal_nan=array.dtype.kind == "f"
    )


# Raw frames: what is stored is what comes back.


@few
@given(st.sampled_from([np.uint8, np.uint16]).flatmap(lambda kind: arrays(kind, frames)))
def test_grey_png_of_pillow_is_read_as_stored(folder, frame):
    path = folder / "frame.png"
    Image.fromarray(frame).save(path)
    assert same(read_raw(path), frame)


@few
@given(st.sampled_from([np.uint8, np.uint16]).flatmap(lambda kind: arrays(kind, pictures)))
def test_colour_png_round_trips_as_rgb(folder, picture):
    path = folder / "picture.png"
    write_png(path, torch.from_numpy(picture))
    assert same(read_raw(path), np.moveaxis(picture, -1, 0))
    if picture.dtype == np.uint8:  # Pillow keeps 8 bits only, and is another reader
        assert np.array_equal(np.asarray(Image.open(path)), picture)


@few
@given(arrays(np.uint16, frames), st.sampled_from([torch.uint16, torch.int32, torch.int64]))
def test_raw_png16_round_trips_from_any_integer_dtype(folder, frame, dtype):
    path = folder / "frame.png"
    write_raw_png16(path, torch.from_numpy(frame).to(dtype))
    assert same(read_raw(path), frame)


@few
@given(
    st.sampled_from([np.uint8, np.uint16, np.float32]).flatmap(lambda kind: arrays(kind, images))
)
def test_tiff_round_trips(folder, image):
    path = folder / "image.tif"
    write_tiff(path, torch.from_numpy(image))
    assert same(read_raw(path), image)


@few
@given(
    real_dtypes.flatmap(lambda kind: arrays(kind, frames)),
    st.sampled_from([None, "zlib"]),
    st.sampled_from(["<", ">"]),
)
def test_tiff_of_any_dtype_compression_and_byte_order_is_read_as_stored(
    folder, frame, compression, byteorder
):
    path = folder / "frame.tiff"
    tifffile.imwrite(path, frame, compression=compression, byteorder=byteorder)
    assert same(read_raw(path), frame)


@few
@given(st.sampled_from([np.uint8, np.uint16]).flatmap(lambda kind: arrays(kind, pictures)))
def test_lzw_tiff_of_opencv_is_read_as_rgb(folder, picture):
    path = folder / "picture.tif"
    cv2.imwrite(str(path), picture[..., ::-1], [cv2.IMWRITE_TIFF_COMPRESSION, 5])
    with tifffile.TiffFile(path) as tiff:
        assert tiff.pages.first.compression == tifffile.COMPRESSION.LZW
    assert same(read_raw(path), np.moveaxis(picture, -1, 0))


def test_tiled_and_planar_tiffs_are_read_as_stored(folder):
    generator = np.random.default_rng(0)
    tiled = generator.integers(0, 65536, (40, 50)).astype(np.uint16)
    tifffile.imwrite(folder / "tiled.tif", tiled, tile=(16, 16))
    assert same(read_raw(folder / "tiled.tif"), tiled)
    planar = generator.random((4, 6, 5)).astype(np.float32)
    tifffile.imwrite(
        folder / "planar.tif", planar, photometric="minisblack", planarconfig="separate"
    )
    assert same(read_raw(folder / "planar.tif"), planar)


@few
@given(
    real_dtypes.flatmap(lambda kind: arrays(kind, array_shapes(max_dims=4, max_side=5))),
    st.booleans(),
    st.sampled_from(["<", ">"]),
)
def test_npy_and_npz_are_read_as_stored(folder, array, fortran, byteorder):
    stored = np.asarray(array, array.dtype.newbyteorder(byteorder), order="F" if fortran else "C")
    np.save(folder / "array.npy", stored)
    assert same(read_raw(folder / "array.npy"), array)
    for save in (np.savez, np.savez_compressed):
        save(folder / "arrays.npz", first=stored, second=stored + 1)
        assert same(read_raw(folder / "arrays.npz", name="first"), array)
        save(folder / "single.npz", only=stored)
        assert same(read_raw(folder / "single.npz"), array)


@pytest.mark.parametrize("orientation", range(1, 9))
@pytest.mark.parametrize("kind", ["grey", "grey16", "colour"])
def test_orientation_tags_turn_no_raw_frame(folder, kind, orientation):
    stored = np.random.default_rng(0).integers(0, 256, (9, 13, 3)).astype(np.uint8)
    if kind != "colour":
        stored = stored[..., 0] * (np.uint16(257) if kind == "grey16" else np.uint8(1))
    wanted = np.moveaxis(stored, -1, 0) if stored.ndim == 3 else stored
    picture = Image.fromarray(stored)
    for compression in ("tiff_lzw", "raw"):
        picture.save(folder / "turned.tif", compression=compression, tiffinfo={274: orientation})
        assert same(read_raw(folder / "turned.tif"), wanted)
    exif = Image.Exif()
    exif[274] = orientation
    picture.save(folder / "turned.png", exif=exif)
    assert same(read_raw(folder / "turned.png"), wanted)


def test_jpeg_is_read_in_rgb(folder):
    red = np.zeros((16, 24, 3), np.uint8)
    red[..., 0] = 200
    Image.fromarray(red).save(folder / "red.jpg", quality=95)
    raw = read_raw(folder / "red.jpg").int()
    assert raw.shape == (3, 16, 24)
    assert (raw - torch.tensor([200, 0, 0])[:, None, None]).abs().max() <= 3


def test_dng_mosaic_is_read_as_stored(folder):
    pytest.importorskip("rawpy")
    mosaic = np.random.default_rng(0).integers(0, 4096, (64, 96)).astype(np.uint16)
    path = folder / "mosaic.DNG"
    tags = [
        (33421, "H", 2, (2, 2), False),  # size of the colour filter pattern
        (33422, "B", 4, bytes([0, 1, 1, 2]), False),  # RGGB
        (50706, "B", 4, bytes([1, 4, 0, 0]), False),  # DNG version
        (50708, "s", 0, "Test camera", False),
        (50717, "I", 1, 4095, False),  # white level
        (50721, "2i", 9, (1, 1, 0, 1, 0, 1, 0, 1, 1, 1, 0, 1, 0, 1, 0, 1, 1, 1), False),
    ]
    tifffile.imwrite(path, mosaic, photometric="CFA", metadata=None, extratags=tags)
    assert same(read_raw(path), mosaic)
    with pytest.raises(FileError, match="a mosaic and no picture"):
        read_image(path, encoding="linear")
    with pytest.raises(FileError, match="more than max_pixels=6143"):
        read_raw(path, max_pixels=64 * 96 - 1)
    path.write_bytes(path.read_bytes()[:-1])
    with pytest.raises(FileError, match=r"mosaic\.DNG: cannot be read as camera raw: [A-Z]"):
        read_raw(path)


def test_without_rawpy_a_dng_says_what_to_install(folder, monkeypatch):
    monkeypatch.setitem(sys.modules, "rawpy", None)
    (folder / "some.dng").write_bytes(b"II*\0 anything")
    with pytest.raises(ImportError, match=r"pip install 'barelens\[raw\]'"):
        read_raw(folder / "some.dng")


# Pictures: linear light, colours and alpha by choice.


@few
@given(st.sampled_from([np.uint8, np.uint16]).flatmap(lambda kind: arrays(kind, pictures)))
def test_read_image_keeps_every_level_and_decodes_srgb(folder, picture):
    path = folder / "picture.png"
    write_png(path, torch.from_numpy(picture))
    unit = torch.from_numpy(np.moveaxis(picture, -1, 0) / np.iinfo(picture.dtype).max)
    linear = read_image(path, encoding="linear")
    assert linear.dtype == torch.float32
    torch.testing.assert_close(linear, unit.float(), rtol=0, atol=1e-7)
    torch.testing.assert_close(
        read_image(path, encoding="srgb"), srgb_to_linear(unit).float(), rtol=0, atol=1e-6
    )


@few
@given(arrays(np.float32, images, elements=st.floats(-4, 4, width=32)))
def test_read_image_leaves_linear_floats_alone(folder, image):
    write_tiff(folder / "image.tif", torch.from_numpy(image))
    read = read_image(folder / "image.tif", encoding="linear")
    assert read.shape == (image if image.ndim == 3 else image[None]).shape
    assert torch.equal(read.reshape(image.shape), torch.from_numpy(image))


@pytest.mark.parametrize("mode", ["LA", "RGBA"])
def test_alpha_is_refused_unless_dropped(folder, mode):
    pixels = np.random.default_rng(0).integers(0, 256, (5, 7, len(mode))).astype(np.uint8)
    path = folder / "transparent.png"
    Image.fromarray(pixels, mode).save(path)
    with pytest.raises(FileError, match="alpha channel"):
        read_raw(path)
    with pytest.raises(FileError, match="alpha='drop' ignores it"):
        read_image(path, encoding="linear")
    kept = read_image(path, encoding="linear", alpha="drop")
    colours = torch.from_numpy(np.moveaxis(pixels[..., :-1], -1, 0) / 255).float()
    torch.testing.assert_close(kept, colours, rtol=0, atol=1e-7)


def test_alpha_of_tiffs_is_refused_with_and_without_its_tag(folder):
    pixels = np.random.default_rng(0).integers(0, 256, (5, 7, 4)).astype(np.uint8)
    tifffile.imwrite(folder / "tagged.tif", pixels, photometric="rgb")
    cv2.imwrite(str(folder / "untagged.tif"), pixels)
    for name in ("tagged.tif", "untagged.tif"):
        with pytest.raises(FileError, match="alpha channel"):
            read_raw(folder / name)
        assert read_image(folder / name, encoding="srgb", alpha="drop").shape == (3, 5, 7)


def test_palettes_are_colours_but_no_raw_frames(folder):
    pixels = np.random.default_rng(0).integers(0, 4, (6, 8, 3)).astype(np.uint8) * 60
    table = Image.fromarray(pixels).quantize(256)
    table.save(folder / "table.png")
    with pytest.raises(FileError, match="colour table"):
        read_raw(folder / "table.png")
    wanted = np.moveaxis(np.asarray(table.convert("RGB")), -1, 0) / np.float32(255)
    assert np.array_equal(read_image(folder / "table.png", encoding="linear").numpy(), wanted)


def test_jpeg_is_turned_upright_for_pictures_only(folder):
    pixels = np.zeros((16, 32, 3), np.uint8)
    pixels[:8] = 255  # the top is white
    exif = Image.Exif()
    exif[0x0112] = 6  # to be turned a quarter clockwise
    Image.fromarray(pixels).save(folder / "turned.jpg", exif=exif, quality=95)
    assert read_raw(folder / "turned.jpg").shape == (3, 16, 32)
    upright = read_image(folder / "turned.jpg", encoding="srgb")
    assert upright.shape == (3, 32, 16)
    assert upright[..., 9:].mean() > 0.95 and upright[..., :7].mean() < 0.05


def test_read_image_names_the_options_it_knows(folder):
    with pytest.raises(ValueError, match="encoding must be"):
        read_image(folder / "any.png", encoding="sRGB")
    with pytest.raises(ValueError, match="alpha must be"):
        read_image(folder / "any.png", encoding="srgb", alpha="keep")
    np.save(folder / "four.npy", np.zeros((4, 5, 6), np.float32))
    with pytest.raises(FileError, match=r"shape \(4, 5, 6\), wanted \(1 or 3"):
        read_image(folder / "four.npy", encoding="linear")
    np.save(folder / "long.npy", np.zeros((5, 6), np.int64))
    with pytest.raises(FileError, match="dtype int64"):
        read_image(folder / "long.npy", encoding="linear")
