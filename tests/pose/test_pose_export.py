"""ONNX files give what the models give."""

from pathlib import Path

import pytest
import torch

from barelens.pose import HumanModel, MultiTaskConfig, MultiTaskModel, from_state_dict
from barelens.pose.export import export_onnx
from barelens.pose.sapiens import (
    PointmapHead,
    RopeVisionTransformer,
    RopeViTConfig,
)

pytest.importorskip("onnxscript")
onnxruntime = pytest.importorskip("onnxruntime")

FIXTURES = Path(__file__).parent / "fixtures"


def first_generation():
    data = torch.load(FIXTURES / "v1_pose308.pt", weights_only=True)
    return from_state_dict(data["state_dict"], "sapiens", "pose", data["config"])


def second_generation():
    config = RopeViTConfig(32, 4, 24, (4, 2), image_size=(64, 48), rope_dtype="bf16")
    head = PointmapHead(
        32, (16, 8), (8,), 3, scale_conv=(8,), scale_hidden=(6,), scale_inputs=2 * 2 * 8
    )
    return randomised(HumanModel(RopeVisionTransformer(config), {"pointmap": head}))


def multi_task():
    config = MultiTaskConfig(
        ("nose", "left_eye", "right_eye"), ("Background", "Hair"), image_size=(64, 48),
        embed_dim=16, depth=2, num_heads=2, feedforward_dim=16, pose_channels=(8,),
        parts_channels=(8, 8), depth_channels=(8,), normals_channels=(8,), head_channels=8,
    )  # fmt: skip
    return MultiTaskModel(config).eval()


def multi_task_pyramid():
    config = MultiTaskConfig(
        ("nose", "left_eye", "right_eye"), ("Background", "Hair"), image_size=(64, 48),
        embed_dim=16, depth=2, num_heads=2, feedforward_dim=16, stem_channels=(8, 8, 16),
        stem_blocks=(0, 1, 0, 1), trunk_channels=(16, 8), pose_channels=(), parts_channels=(8,),
        depth_channels=(), normals_channels=(), head_channels=8, head_kernel=3,
    )  # fmt: skip
    return randomised(MultiTaskModel(config))


def randomised(model):
    generator = torch.Generator().manual_seed(0)
    for parameter in model.parameters():
        parameter.data = torch.randn(parameter.shape, generator=generator) * 0.2
    return model.eval()


CASES = {
    "v1": (first_generation, ("pose",), 2e-5),
    # One rounding to bfloat16 that falls the other way moves the output by as much.
    "v2": (second_generation, ("pointmap", "scale"), 5e-2),
    "multi-task": (multi_task, ("pose", "segmentation", "depth", "normal"), 2e-5),
    "pyramid": (multi_task_pyramid, ("pose", "segmentation", "depth", "normal"), 2e-5),
}


@pytest.mark.parametrize("name", CASES)
@torch.no_grad()
def test_onnxruntime_gives_what_the_model_gives(name, tmp_path):
    make, names, atol = CASES[name]
    model = make()
    path = tmp_path / "model.onnx"
    assert export_onnx(model, path) == names
    assert [file.name for file in tmp_path.iterdir()] == ["model.onnx"]
    session = onnxruntime.InferenceSession(path, providers=["CPUExecutionProvider"])
    generator = torch.Generator().manual_seed(1)
    for batch in (1, 3):
        pixels = torch.randn(batch, 3, *model.image_size, generator=generator)
        found = session.run(list(names), {"pixels": pixels.numpy()})
        raw = model.read(model.features(pixels))
        wanted = [
            each
            for output in raw.values()
            for each in ([output] if isinstance(output, torch.Tensor) else output)
        ]
        for mine, theirs in zip(found, wanted, strict=True):
            torch.testing.assert_close(torch.from_numpy(mine), theirs, rtol=0, atol=atol)


@torch.no_grad()
def test_other_sizes_and_fewer_heads_can_be_chosen(tmp_path):
    path = tmp_path / "model.onnx"
    model = multi_task()
    assert export_onnx(model, path, tasks=["normals"], image_size=(96, 80)) == ("normal",)
    session = onnxruntime.InferenceSession(path, providers=["CPUExecutionProvider"])
    pixels = torch.randn(1, 3, 96, 80, generator=torch.Generator().manual_seed(1))
    found = session.run(None, {"pixels": pixels.numpy()})
    wanted = model(pixels)["normals"]
    torch.testing.assert_close(torch.from_numpy(found[0]), wanted, rtol=0, atol=2e-5)


def test_what_cannot_be_exported_is_refused(tmp_path):
    with pytest.raises(TypeError, match="float32"):
        export_onnx(multi_task().bfloat16(), tmp_path / "model.onnx")
    with pytest.raises(ValueError, match="tasks must be of"):
        export_onnx(multi_task(), tmp_path / "model.onnx", tasks=["albedo"])
    assert not list(tmp_path.iterdir())
