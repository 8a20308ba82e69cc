"""Every kind of source gives the same frames under stable names."""

import io
import tarfile

import numpy as np
import pytest
import torch

from barelens.app.batch import open_source


def _read(source):
    return {capture.name: capture.read() for capture in open_source(source, frame_ndim=2)}


def _equal(read, frames):
    assert len(read) == len(frames)
    for frame, wanted in zip(read.values(), frames, strict=True):
        assert frame.dtype == torch.uint16
        assert torch.equal(frame, wanted)


def _tar(path, members):
    with tarfile.open(path, "w:gz" if path.suffix == ".tgz" else "w") as archive:
        for name, content in members.items():
            info = tarfile.TarInfo(name)
            info.size = len(content)
            archive.addfile(info, io.BytesIO(content))


def test_tensors_arrays_and_streams(frames):
    _equal(_read(frames[0]), frames[:1])
    _equal(_read(frames), frames)
    _equal(_read(frames.numpy()), frames)
    _equal(_read(iter(frames)), frames)
    _equal(_read(list(frames)), frames)
    _equal(_read([frames[:5], frames[5:]]), frames)
    assert list(_read(frames[:2])) == ["capture-00000000", "capture-00000001"]
    named = _read(zip(["b", "a/c"], frames[:2], strict=True))
    assert list(named) == ["b", "a/c"]
    _equal(named, frames[:2])


def test_data_loaders_give_batches_alone_or_first(frames):
    data = torch.utils.data.TensorDataset(frames, torch.arange(len(frames)))
    loader = torch.utils.data.DataLoader(data, batch_size=5, collate_fn=_stacked)
    _equal(_read(loader), frames)
    loader = torch.utils.data.DataLoader(frames.int(), batch_size=5)
    assert torch.equal(torch.stack(list(_read(loader).values())), frames.int())


def _stacked(items):
    return [torch.stack([frame for frame, _ in items]), torch.tensor([n for _, n in items])]


def test_folders_globs_and_files(tmp_path, write_frames, frames):
    write_frames(tmp_path / "a" / "deep", 2, "x")
    write_frames(tmp_path / "b", 1, "y")
    (tmp_path / "notes.txt").write_text("no capture")
    wanted = [frames[0], frames[1], frames[0]]
    names = ["a/deep/x-0000", "a/deep/x-0001", "b/y-0000"]
    source = open_source(tmp_path, frame_ndim=2)
    assert source.count == 3
    for found in (_read(tmp_path), _read(f"{tmp_path}/**/*.png")):
        assert list(found) == names
        _equal(found, wanted)
    assert list(_read(f"{tmp_path}/a/*/*.png")) == ["deep/x-0000", "deep/x-0001"]
    paths = sorted(tmp_path.rglob("*.png"))
    assert list(_read(paths)) == ["x-0000", "x-0001", "y-0000"]
    assert list(_read(str(paths[2]))) == ["y-0000"]
    few = open_source(tmp_path, frame_ndim=2, pattern="y-*")
    assert [capture.name for capture in few] == ["b/y-0000"]
    with pytest.raises(FileNotFoundError, match="no captures at"):
        _read(f"{tmp_path}/*.tif")


@pytest.mark.parametrize("name", ["shard.tar", "shard.tgz"])
def test_shards(tmp_path, write_frames, frames, name):
    write_frames(tmp_path / "f", 3)
    contents = [path.read_bytes() for path in sorted((tmp_path / "f").iterdir())]
    members = {f"{i:03d}.raw.png": content for i, content in enumerate(contents)}
    _tar(tmp_path / name, {**members, "000.json": b"{}", "../../evil.png": contents[0]})
    read = {}
    refused = []
    for capture in open_source(tmp_path / name, frame_ndim=2):
        try:
            read[capture.name] = capture.read()
        except ValueError as error:
            refused.append(str(error))
    assert list(read) == ["shard/000.raw", "shard/001.raw", "shard/002.raw"]
    _equal(read, frames[:3])
    assert len(refused) == 1 and "leads out of its folder" in refused[0]


def test_a_cut_shard_gives_what_comes_before_and_is_named(tmp_path, write_frames):
    write_frames(tmp_path / "f", 3)
    members = {path.name: path.read_bytes() for path in sorted((tmp_path / "f").iterdir())}
    _tar(tmp_path / "whole.tar", members)
    content = (tmp_path / "whole.tar").read_bytes()
    (tmp_path / "cut.tar").write_bytes(content[: 512 + 600])
    (tmp_path / "f" / "cut.tar").write_bytes(content[: 512 + 600])
    *good, bad = open_source(tmp_path / "cut.tar", frame_ndim=2)
    assert not good
    with pytest.raises(ValueError, match=r"cut\.tar: cannot be read as a tar archive"):
        bad.read()
    assert len(list(open_source(tmp_path / "f", frame_ndim=2))) == 4


def test_zarr(tmp_path, frames):
    zarr = pytest.importorskip("zarr")
    shape, chunks = tuple(frames.shape), (1, *frames.shape[1:])
    array = zarr.create_array(tmp_path / "one.zarr", shape=shape, chunks=chunks, dtype="uint16")
    array[:] = frames.numpy()
    _equal(_read(array), frames)
    _equal(_read(tmp_path / "one.zarr"), frames)
    assert next(iter(_read(tmp_path))) == "one-00000000"
    group = zarr.open_group(tmp_path / "two.zarr", mode="w")
    for name in ("left", "right"):
        group.create_array(name, shape=shape, chunks=chunks, dtype="uint16")
    (capture,) = open_source(tmp_path / "two.zarr", frame_ndim=2)
    with pytest.raises(ValueError, match="exactly one array of captures, has: left, right"):
        capture.read()


def test_hdf5(tmp_path, frames):
    h5py = pytest.importorskip("h5py")
    with h5py.File(tmp_path / "some.h5", "w") as file:
        file["captures"] = frames.numpy()
        _equal(_read(file["captures"]), frames)
    assert open_source(tmp_path / "some.h5", frame_ndim=2).count == len(frames)
    _equal(_read(tmp_path / "some.h5"), frames)
    (tmp_path / "broken.h5").write_text("hello")
    (capture,) = open_source(tmp_path / "broken.h5", frame_ndim=2)
    with pytest.raises(ValueError, match="cannot be read as HDF5"):
        capture.read()


def test_object_stores(write_frames, frames, tmp_path):
    fsspec = pytest.importorskip("fsspec")
    write_frames(tmp_path, 2)
    store = fsspec.filesystem("memory")
    for path in tmp_path.iterdir():
        store.pipe(f"/bucket/set/{path.name}", path.read_bytes())
    _tar(tmp_path / "s.tar", {"k.png": (tmp_path / "frame-0000.png").read_bytes()})
    store.pipe("/shards/s.tar", (tmp_path / "s.tar").read_bytes())
    store.pipe("/bad/x.png", b"hello")
    for url in ("memory://bucket", "memory://bucket/set/*.png"):
        _equal(_read(url), frames[:2])
    assert list(_read("memory://bucket")) == ["set/frame-0000", "set/frame-0001"]
    assert list(_read("memory://shards/s.tar")) == ["s/k"]
    with pytest.raises(ValueError, match=r"^memory://.*bad/x\.png: cannot be read as PNG"):
        _read("memory://bad/x.png")


def test_what_is_no_source_is_named(frames):
    with pytest.raises(TypeError, match="must be frames, paths or an iterable, got int"):
        open_source(3, frame_ndim=2)
    with pytest.raises(TypeError, match=r"must have 2 axes, or one more for a batch, got shape"):
        open_source(np.zeros(3), frame_ndim=2)
    (bad,) = open_source(iter(["a", "b"]), frame_ndim=2)
    with pytest.raises(ValueError, match="must give frames of 2 axes or batches"):
        bad.read()
    (first, bad) = open_source(iter([frames[0], frames[0, 0]]), frame_ndim=2)
    assert torch.equal(first.read(), frames[0])
    with pytest.raises(ValueError, match="must give frames of 2 axes or batches"):
        bad.read()
