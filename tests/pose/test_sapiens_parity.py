"""Outputs of the reference modules, shrunken: fixtures with random weights, float32 on a CPU."""

import functools
from pathlib import Path

import pytest
import torch

from barelens.pose import from_state_dict
from barelens.pose.dense import class_map
from barelens.pose.flip import flip_test

FIXTURES = Path(__file__).parent / "fixtures"
CASES = [
    ("v1_pose308", "sapiens", "pose", 1e-5, ("", "_offsize")),
    ("v1_seg", "sapiens", "seg", 1e-5, ("", "_offsize", "_ragged")),
    ("v2_pose", "sapiens2", "pose", 2e-5, ("", "_offsize")),
]


@functools.cache
def fixture(name):
    return torch.load(FIXTURES / f"{name}.pt", weights_only=True)


def build(name, **changes):
    family, task = next((case[1], case[2]) for case in CASES if case[0] == name)
    data = fixture(name)
    return from_state_dict(data["state_dict"], family, task, data["config"] | changes)


@pytest.mark.parametrize(
    ("name", "atol", "suffix"),
    [(name, atol, suffix) for name, _, _, atol, suffixes in CASES for suffix in suffixes],
)
@torch.no_grad()
def test_features_and_outputs_equal_the_reference(name, atol, suffix):
    data, model = fixture(name), build(name)
    pixels = data[f"input{suffix}"]
    torch.testing.assert_close(model.backbone(pixels), data[f"feat{suffix}"], rtol=0, atol=atol)
    torch.testing.assert_close(model(pixels), data[f"output{suffix}"], rtol=0, atol=atol)


@torch.no_grad()
def test_rotary_positions_in_float32_equal_the_reference_in_float32():
    data, model = fixture("v2_pose"), build("v2_pose", rope_dtype="fp32")
    pixels = data["input"]
    torch.testing.assert_close(model.backbone(pixels), data["feat_rope_fp32"], rtol=0, atol=2e-5)
    torch.testing.assert_close(model(pixels), data["output_rope_fp32"], rtol=0, atol=2e-5)


@torch.no_grad()
def test_flip_test_equals_the_reference():
    data, model = fixture("v1_pose308"), build("v1_pose308")
    averaged = flip_test(model, data["input"], flip_indices=data["flip_indices"])
    torch.testing.assert_close(averaged, data["output_flip_tta"], rtol=0, atol=1e-5)


def test_part_of_each_pixel_equals_the_reference():
    data = fixture("v1_seg")
    assert torch.equal(class_map(data["output"], (301, 222)), data["post_301x222"])


@pytest.mark.parametrize("name", [case[0] for case in CASES])
def test_modules_have_exactly_the_published_keys(name):
    state = fixture(name)["state_dict"]
    loaded = build(name).state_dict()
    assert set(loaded) == set(state)
    assert all(torch.equal(loaded[key], state[key]) for key in state)
    assert all(loaded[key].data_ptr() != state[key].data_ptr() for key in state)


@pytest.mark.parametrize("name", ["v1_pose308", "v1_seg"])
@torch.no_grad()
def test_a_wrong_patch_padding_is_badly_wrong(name):
    data = fixture(name)
    wrong = "corner" if data["config"]["patch_padding"] == 2 else 2
    output = build(name, patch_padding=wrong)(data["input"])
    assert output.shape == data["output"].shape
    assert (output - data["output"]).abs().max() > 1


@pytest.mark.parametrize(("name", "family", "task", "atol", "suffixes"), CASES)
@torch.no_grad()
def test_the_task_and_the_tensors_tell_what_the_config_leaves_out(
    name, family, task, atol, suffixes
):
    data = fixture(name)
    config = {"heads": 4, "img_size": (128, 96)} if family == "sapiens" else None
    for model in (
        from_state_dict(data["state_dict"], family, task, config),
        from_state_dict({"state_dict": data["state_dict"], "meta": {"epoch": 3}}, config=config),
    ):
        torch.testing.assert_close(model(data["input"]), data["output"], rtol=0, atol=atol)


@torch.no_grad()
def test_batches_equal_single_pictures():
    data, model = fixture("v2_pose"), build("v2_pose")
    pixels = torch.cat([data["input"], data["input"].flip(-1), data["input"] * 0.5])
    one_by_one = torch.cat([model(item[None]) for item in pixels])
    torch.testing.assert_close(model(pixels), one_by_one, rtol=0, atol=2e-2)
    exact = build("v2_pose", rope_dtype="fp32")
    one_by_one = torch.cat([exact(item[None]) for item in pixels])
    torch.testing.assert_close(exact(pixels), one_by_one, rtol=0, atol=2e-5)
