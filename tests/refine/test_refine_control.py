"""DifuzCam's ControlNet: its state dict is converted, never read in the wrong order."""

import json

import pytest
import torch
from safetensors.torch import save_file

from barelens.imaging.refine import CaptureControlNet, SeparableTransform

SENSOR, SIZE = (10, 12), (32, 32)


@pytest.fixture
def published(toy):
    """A state dict as published: planes B, Gb, Gr, R, and the config beside it."""
    torch.manual_seed(0)
    controlnet = toy.controlnet(toy.unet(4), 4, (8, 8))
    extra = {
        "flat_inverse.PhiL": torch.randn(4, SENSOR[0], SIZE[0]),
        "flat_inverse.PhiR": torch.randn(4, SENSOR[1], SIZE[1]),
        "conv.weight": torch.randn(3, 4, 3, 3),
        "conv.bias": torch.randn(3),
    }
    config = {**controlnet.config, "_class_name": "FlatControlNetModel", "novelty": 1}
    return controlnet, {**controlnet.state_dict(), **extra}, config


def test_published_weights_give_the_published_output_on_our_planes(published):
    theirs, state, config = published
    ours = CaptureControlNet.from_published(state, config)
    capture = torch.randn(2, 4, *SENSOR)  # B, Gb, Gr, R
    seen = torch.einsum(
        "chi,bchw,cwj->bcij", state["flat_inverse.PhiL"], capture, state["flat_inverse.PhiR"]
    )
    sample, context = torch.randn(2, 4, 16, 16), torch.randn(2, 1, 8)
    down, middle = theirs(sample, 7, context, controlnet_cond=seen, return_dict=False)
    found_down, found_middle = ours(sample, 7, context, capture.flip(1))
    torch.testing.assert_close(found_middle, middle, rtol=1e-4, atol=1e-4)
    for found, expected in zip(found_down, down, strict=True):
        torch.testing.assert_close(found, expected, rtol=1e-4, atol=1e-4)
    preview = torch.nn.functional.conv2d(seen, state["conv.weight"], state["conv.bias"], padding=1)
    found = ours.preview(ours.transform(capture.flip(1)))
    torch.testing.assert_close(found, preview, rtol=1e-4, atol=1e-4)
    wrong_down, _ = ours(sample, 7, context, capture)
    assert not torch.allclose(wrong_down[0], down[0], atol=1e-3)


def test_converting_leaves_the_given_state_alone(published):
    _, state, config = published
    before = {key: value.clone() for key, value in state.items()}
    CaptureControlNet.from_published(state, config)
    assert all(torch.equal(state[key], value) for key, value in before.items())


@pytest.mark.parametrize(
    ("change", "message"),
    [
        (lambda s: s.pop("flat_inverse.PhiL"), r"flat_inverse\.PhiL missing"),
        (lambda s: s.pop("conv.bias"), r"conv\.bias missing"),
        (lambda s: s.pop("conv_in.weight"), r"conv_in\.weight"),
        (lambda s: s.update(surplus=torch.zeros(1)), "surplus"),
        (lambda s: s.update({"conv.weight": torch.zeros(3, 3, 3, 3)}), "size mismatch"),
    ],
)
def test_loading_is_strict(published, change, message):
    _, state, config = published
    change(state)
    with pytest.raises(ValueError, match=message):
        CaptureControlNet.from_published(state, config)


def test_published_folder_is_read_and_ours_is_another(published, tmp_path):
    _, state, config = published
    save_file(state, tmp_path / "diffusion_pytorch_model.safetensors")
    (tmp_path / "config.json").write_text(json.dumps(config))
    loaded = CaptureControlNet.load_published(tmp_path)
    assert torch.equal(loaded.transform.weight_left, state["flat_inverse.PhiL"].flip(0))
    with pytest.raises(FileNotFoundError, match="load_published"):
        CaptureControlNet.load(tmp_path)
    with pytest.raises(FileNotFoundError, match="no diffusion_pytorch_model"):
        CaptureControlNet.load_published(tmp_path / "elsewhere")


def test_saving_and_loading_keeps_every_bit(published, tmp_path):
    _, state, config = published
    saved = CaptureControlNet.from_published(state, config)
    saved.save(tmp_path)
    loaded = CaptureControlNet.load(tmp_path)
    found = loaded.state_dict()
    assert found.keys() == saved.state_dict().keys()
    assert all(torch.equal(found[key], value) for key, value in saved.state_dict().items())


@pytest.mark.parametrize(
    ("metadata", "message"),
    [
        ({"format": "barelens.capture_transform", "format_version": "99"}, "format version 99"),
        ({"format": "other", "format_version": "1"}, "not barelens.capture_transform"),
        ({"format": "barelens.capture_transform", "format_version": "1"}, "must hold"),
    ],
)
def test_other_files_are_refused(published, tmp_path, metadata, message):
    _, state, config = published
    CaptureControlNet.from_published(state, config).save(tmp_path)
    save_file({"x": torch.zeros(1)}, tmp_path / "transform.safetensors", metadata)
    with pytest.raises(ValueError, match=message):
        CaptureControlNet.load(tmp_path)
    (tmp_path / "transform.safetensors").write_bytes(b"rubbish")
    with pytest.raises(ValueError, match="damaged"):
        CaptureControlNet.load(tmp_path)


def test_a_controlnet_of_other_channels_is_refused(toy):
    controlnet = toy.controlnet(toy.unet(4), 8, (8, 8))
    with pytest.raises(ValueError, match="must have 4 channels, got 8"):
        CaptureControlNet(controlnet, SeparableTransform.random(SENSOR, SIZE, seed=0))
