"""Checkpoints: safe, whole, and the terms shown once."""

import json
import pickle
import sys
import types
import warnings
from pathlib import Path

import pytest
import torch
from safetensors.torch import save_file

from barelens.pose import CheckpointError, LicenceNotice, load_checkpoint, save_checkpoint
from barelens.pose.sapiens import (
    DeconvHead,
    HumanModel,
    VisionTransformer,
    ViTConfig,
    licence,
    read_state_dict,
)

CONFIG = ViTConfig(32, 1, 4, 48, image_size=(64, 48))
ANSWERS = {"num_heads": 4, "img_size": [64, 48]}
PIXELS = torch.randn(1, 3, 64, 48, generator=torch.Generator().manual_seed(0))

quiet = pytest.mark.filterwarnings("ignore::barelens.pose.LicenceNotice")


@pytest.fixture
def published():
    torch.manual_seed(0)
    head = DeconvHead(32, (16, 16), (16,), 17, final="final_layer")
    return HumanModel(VisionTransformer(CONFIG), {"pose": head}, attributes={"pose": "head"})


@quiet
@torch.no_grad()
@pytest.mark.parametrize("name", ["model.safetensors", "model.pth"])
@pytest.mark.parametrize("whole_folder", [False, True])
def test_files_and_folders_load(published, tmp_path, name, whole_folder):
    state = published.state_dict()
    if name.endswith("pth"):
        torch.save({"state_dict": state, "meta": {"epoch": 3, "names": ["a"]}}, tmp_path / name)
    else:
        save_file(state, tmp_path / name)
    (tmp_path / "config.json").write_text(json.dumps(ANSWERS | {"patch_padding": "corner"}))
    model = load_checkpoint(tmp_path if whole_folder else tmp_path / name)
    assert torch.equal(model(PIXELS), published(PIXELS))


@quiet
@torch.no_grad()
def test_shards_load_by_their_index(published, tmp_path):
    items = list(published.state_dict().items())
    weight_map = {}
    for part, pieces in enumerate((items[:5], items[5:])):
        shard = f"model-{part}.safetensors"
        save_file(dict(pieces), tmp_path / shard)
        weight_map |= {key: shard for key, _ in pieces}
    (tmp_path / "model.safetensors.index.json").write_text(json.dumps({"weight_map": weight_map}))
    model = load_checkpoint(tmp_path, config=ANSWERS | {"patch_padding": "corner"})
    assert torch.equal(model(PIXELS), published(PIXELS))


@torch.no_grad()
def test_models_of_ours_come_back_from_one_file_without_a_notice(tmp_path):
    heads = {
        "pose": DeconvHead(32, (16,), (16,), 17, final="final_layer"),
        "normal": DeconvHead(32, (16,), (16,), 3, final="conv_seg"),
    }
    model = HumanModel(VisionTransformer(CONFIG), heads).half()
    save_checkpoint(tmp_path / "people.safetensors", model)
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        again = load_checkpoint(tmp_path / "people.safetensors", dtype=torch.float32)
    assert again.tasks == ("pose", "normal")
    assert again.backbone.config == CONFIG
    found, wanted = again(PIXELS), model.float()(PIXELS)
    assert all(torch.equal(found[task], wanted[task]) for task in wanted)


def test_a_later_format_is_refused_by_name(tmp_path):
    metadata = {"format": "barelens.human", "format_version": "2", "config": "{}"}
    save_file({"a": torch.zeros(1)}, tmp_path / "a.safetensors", metadata)
    with pytest.raises(CheckpointError, match="version 2; this release reads up to 1"):
        load_checkpoint(tmp_path / "a.safetensors")


@quiet
def test_other_names_are_looked_for_on_the_hub(published, tmp_path, monkeypatch):
    asked = []

    def snapshot_download(name, **patterns):
        asked.append((name, patterns))
        save_file(published.state_dict(), tmp_path / "model.safetensors")
        return str(tmp_path)

    hub = types.SimpleNamespace(snapshot_download=snapshot_download)
    monkeypatch.setitem(sys.modules, "huggingface_hub", hub)
    assert load_checkpoint("someone/sapiens-pose-0.3b", config=ANSWERS).tasks == ("pose",)
    assert asked[0][0] == "someone/sapiens-pose-0.3b"
    monkeypatch.setitem(sys.modules, "huggingface_hub", None)
    with pytest.raises(ImportError, match="pip install huggingface_hub"):
        load_checkpoint("someone/sapiens-pose-0.3b")


class Trap:
    def __reduce__(self):
        return (Path.touch, (Path("trap-was-sprung"),))


@pytest.mark.parametrize("legacy", [False, True])
def test_pickled_objects_are_refused_and_not_run(tmp_path, monkeypatch, legacy):
    monkeypatch.chdir(tmp_path)
    torch.save(
        {"state_dict": {}, "meta": Trap()},
        "trap.pth",
        _use_new_zipfile_serialization=not legacy,
    )
    with pytest.raises(CheckpointError, match="convert it once"):
        load_checkpoint("trap.pth")
    assert not Path("trap-was-sprung").exists()


@pytest.mark.filterwarnings("ignore:Detected pickle protocol")
def test_a_bare_pickle_is_refused_and_not_run(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    Path("bare.pth").write_bytes(pickle.dumps(Trap()))
    with pytest.raises(CheckpointError):
        load_checkpoint("bare.pth")
    assert not Path("trap-was-sprung").exists()


@pytest.mark.filterwarnings("ignore::DeprecationWarning")
def test_code_in_an_archive_is_refused(tmp_path):
    torch.jit.script(torch.nn.Linear(2, 2)).save(tmp_path / "scripted.pt")
    with pytest.raises(CheckpointError, match="TorchScript"):
        load_checkpoint(tmp_path / "scripted.pt")


@pytest.mark.parametrize("name", ["cut.safetensors", "cut.pth"])
def test_truncated_files_are_named(published, tmp_path, name):
    path = tmp_path / name
    state = published.state_dict()
    save_file(state, path) if name.endswith("safetensors") else torch.save(state, path)
    path.write_bytes(path.read_bytes()[:-2000])
    with pytest.raises(CheckpointError, match=name):
        load_checkpoint(path)


def test_what_is_not_there_is_named(tmp_path):
    with pytest.raises(FileNotFoundError, match=r"nothing\.pth"):
        load_checkpoint(tmp_path / "nothing.pth")
    with pytest.raises(FileNotFoundError, match="holds no"):
        load_checkpoint(tmp_path)
    for name in ("a.safetensors", "b.safetensors"):
        save_file({"a": torch.zeros(1)}, tmp_path / name)
    with pytest.raises(CheckpointError, match="name one of"):
        load_checkpoint(tmp_path)
    with pytest.raises(CheckpointError, match="must end in"):
        read_state_dict(Path(__file__))


def test_the_licence_is_shown_once(published, tmp_path, monkeypatch):
    monkeypatch.setattr(licence, "_shown", set())
    save_file(published.state_dict(), tmp_path / "model.safetensors")
    with pytest.warns(LicenceNotice, match="CC BY-NC") as seen:
        load_checkpoint(tmp_path, config=ANSWERS)
        load_checkpoint(tmp_path, config=ANSWERS)
    assert len(seen) == 1
    assert seen[0].filename == __file__
