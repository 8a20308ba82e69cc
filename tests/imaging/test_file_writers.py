"""Writers: files appear whole, and nothing is clipped in silence."""

import json
import os

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.extra.numpy import arrays

from barelens.imaging.files import (
    FileError,
    atomic_path,
    read_raw,
    read_tiff16,
    write_json,
    write_png,
    write_raw_png16,
    write_tiff,
    write_tiff16,
)
from barelens.imaging.shapes import ShapeError

few = settings(max_examples=30, deadline=None)
sides = st.integers(1, 9)
images = st.one_of(st.tuples(sides, sides), st.tuples(st.just(3), sides, sides))


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    return tmp_path_factory.mktemp("written")


@few
@given(
    arrays(np.float64, images, elements=st.floats(-3, 7)),
    st.floats(-2, 0),
    st.floats(0.1, 5),
)
def test_tiff16_recovers_values_to_half_a_step_and_counts_the_rest(folder, image, black, white):
    path = folder / "image.tif"
    clipped = write_tiff16(path, torch.from_numpy(image), white=white, black=black)
    half = (white - black) / 65535 / 2
    recovered = read_tiff16(path).double().numpy()
    inside = (image >= black) & (image <= white)
    assert np.all(np.abs(recovered - image)[inside] <= half * 1.001 + 1e-6 * white)
    # Rounding decides about a value that lies half a step outside.
    for count, over in ((clipped.below, black - image), (clipped.above, image - white)):
        assert (over > 1.001 * half).sum() <= count <= (over > 0.999 * half).sum()
    assert clipped.total == image.size


def test_tiff16_refuses_what_it_cannot_scale(folder):
    path = folder / "unwritten.tif"
    image = torch.zeros(3, 4, 5)
    with pytest.raises(ValueError, match="white must be above black"):
        write_tiff16(path, image, white=0.0)
    with pytest.raises(ValueError, match="finite"):
        write_tiff16(path, image + float("nan"), white=1.0)
    with pytest.raises(TypeError, match="floating"):
        write_tiff16(path, image.int(), white=1.0)
    with pytest.raises(ShapeError, match="1 or 3"):
        write_tiff16(path, torch.zeros(2, 4, 5), white=1.0)
    assert not path.exists()


def test_read_tiff16_refuses_files_without_a_scale_or_from_a_later_release(folder):
    path = folder / "image.tif"
    levels = torch.zeros(4, 5, dtype=torch.uint16)
    write_tiff(path, levels)
    with pytest.raises(FileError, match="does not say its scale"):
        read_tiff16(path)
    later = {"format": "barelens.tiff16", "format_version": 2, "black": 0, "white": 1}
    write_tiff(path, levels, record=later)
    with pytest.raises(FileError, match="format version 2; this release reads up to 1"):
        read_tiff16(path)


def test_writers_refuse_other_dtypes_and_shapes(folder):
    path = folder / "unwritten"
    with pytest.raises(TypeError, match="float64"):
        write_tiff(path, torch.zeros(4, 5, dtype=torch.float64))
    with pytest.raises(TypeError, match="float32"):
        write_png(path, torch.zeros(4, 5))
    with pytest.raises(ShapeError, match=r"\(3, 4, 5\)"):
        write_png(path, torch.zeros(3, 4, 5, dtype=torch.uint8))
    with pytest.raises(ValueError, match="got 0 to 65536"):
        write_raw_png16(path, torch.tensor([[0, 65536]]))
    with pytest.raises(TypeError, match="integer"):
        write_raw_png16(path, torch.zeros(4, 5))
    with pytest.raises(ShapeError, match="height, width"):
        write_raw_png16(path, torch.zeros(3, 4, 5, dtype=torch.int32))
    assert not path.exists()


def test_json_is_strict_and_readable(folder):
    path = folder / "record.json"
    record = {"camera": "größer", "penalty": 1e-3, "shape": [500, 620]}
    write_json(path, record)
    assert json.loads(path.read_text(encoding="utf-8")) == record
    with pytest.raises(ValueError, match="JSON"):
        write_json(path, {"residual": float("nan")})
    assert json.loads(path.read_text(encoding="utf-8")) == record


@pytest.mark.parametrize("failure", [RuntimeError, KeyboardInterrupt])
@pytest.mark.parametrize("existing", [None, b"as it was"])
def test_an_interrupted_write_leaves_the_folder_as_it_was(tmp_path, failure, existing):
    path = tmp_path / "image.tif"
    if existing is not None:
        path.write_bytes(existing)
    before = sorted(tmp_path.iterdir())
    with pytest.raises(failure), atomic_path(path) as temporary:
        temporary.write_bytes(b"half a file")
        assert temporary.parent == tmp_path and temporary.suffix == ".tif"
        raise failure
    assert sorted(tmp_path.iterdir()) == before
    assert existing is None or path.read_bytes() == existing


def test_files_larger_than_one_piece_are_whole(tmp_path):
    rng = torch.Generator().manual_seed(0)
    image = torch.rand(3, 150, 201, generator=rng)
    frame = torch.randint(0, 65536, (301, 200), dtype=torch.int32, generator=rng)
    write_tiff(tmp_path / "image.tif", image)
    write_raw_png16(tmp_path / "frame.png", frame)
    assert all(path.stat().st_size > 2**16 for path in tmp_path.iterdir())
    assert torch.equal(read_raw(tmp_path / "image.tif"), image)
    assert torch.equal(read_raw(tmp_path / "frame.png").int(), frame)


def test_a_writer_that_fails_midway_leaves_the_old_file(tmp_path, monkeypatch):
    path = tmp_path / "image.tif"
    old, new = torch.zeros(6, 7), torch.ones(6, 7)
    write_tiff(path, old)

    def full(descriptor):
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(os, "fsync", full)
    with pytest.raises(OSError, match="No space left"):
        write_tiff(path, new)
    assert torch.equal(read_raw(path), old)
    assert list(tmp_path.iterdir()) == [path]


def test_atomic_path_flushes_before_it_replaces(tmp_path, monkeypatch):
    path = tmp_path / "record.json"
    events = []
    fsync, replace = os.fsync, type(path).replace
    monkeypatch.setattr(os, "fsync", lambda fd: (events.append("flush"), fsync(fd)))
    monkeypatch.setattr(
        type(path), "replace", lambda self, to: (events.append("replace"), replace(self, to))
    )
    write_json(path, {"ready": True})
    assert events[:2] == ["flush", "replace"]
    assert path.read_text().startswith("{")


def test_atomic_path_needs_its_folder_and_a_file(tmp_path):
    with pytest.raises(FileNotFoundError):
        write_json(tmp_path / "nowhere" / "record.json", {})
    with pytest.raises(FileNotFoundError), atomic_path(tmp_path / "nothing.tif"):
        pass
    assert list(tmp_path.iterdir()) == []


@pytest.mark.skipif(os.name != "posix", reason="POSIX permissions")
def test_written_files_have_the_usual_permissions(tmp_path):
    (tmp_path / "usual").touch()
    write_json(tmp_path / "record.json", {})
    assert (tmp_path / "record.json").stat().st_mode == (tmp_path / "usual").stat().st_mode
