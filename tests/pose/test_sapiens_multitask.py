"""Our own model: one backbone, four heads, one file."""

import json
import math
from dataclasses import replace

import pytest
import torch
from safetensors import safe_open
from safetensors.torch import save_file

from barelens.imaging.shapes import ShapeError
from barelens.pose import (
    CheckpointError,
    HumanVision,
    MultiTaskConfig,
    MultiTaskModel,
    load_checkpoint,
    load_multitask,
    reference_preparation,
    save_multitask,
)
from barelens.pose.formats import coco_results, openpose_record
from barelens.pose.labels import keypoint_layout, named_layout, named_parts, part_labels
from barelens.pose.overlay import draw_parts, draw_people
from barelens.pose.reading import ModelReader
from barelens.pose.sapiens import PyramidTransformer

NAMES = ("nose", "left_shoulder", "right_shoulder", "left_hip", "right_hip", "neck")
PARTS = ("Background", "Hair", "Left_Hand", "Right_Hand", "Own_Part")
TINY = MultiTaskConfig(
    NAMES, PARTS, image_size=(64, 48), embed_dim=16, depth=2, num_heads=2, feedforward_dim=24,
    pose_channels=(8, 8), parts_channels=(8,), depth_channels=(8,), normals_channels=(8,),
    head_channels=8,
)  # fmt: skip
PYRAMID = replace(
    TINY, stem_channels=(8, 8, 16), stem_blocks=(0, 1, 0, 1), trunk_channels=(16, 8),
    pose_channels=(), parts_channels=(8,), depth_channels=(), normals_channels=(), head_kernel=3,
)  # fmt: skip
GENERATOR = torch.Generator().manual_seed(0)
PIXELS = torch.randn(2, 3, 64, 48, generator=GENERATOR)


@torch.no_grad()
def test_one_pass_of_the_backbone_serves_all_heads():
    model = MultiTaskModel(TINY)
    passes = []
    model.backbone.register_forward_hook(lambda *_: passes.append(1))
    outputs = model(PIXELS)
    assert len(passes) == 1
    assert {name: tuple(output.shape) for name, output in outputs.items()} == {
        "pose": (2, 6, 16, 12),
        "parts": (2, 5, 8, 6),
        "depth": (2, 1, 8, 6),
        "normals": (2, 3, 8, 6),
    }
    vision = HumanVision([model], flip_test=False)
    vision(torch.rand(3, 40, 60))
    assert len(passes) == 2


@torch.no_grad()
def test_with_the_flip_test_a_mirrored_crop_gives_all_maps_mirrored():
    model = MultiTaskModel(PYRAMID, seed=3)
    preparation = reference_preparation("barelens", "pose", model.image_size)
    crops = torch.randint(256, (2, 3, 64, 48), generator=GENERATOR).float()

    def differences(flip_test):
        """Between the maps of crops and those of their mirror images, turned back."""
        reader = ModelReader(model, dict.fromkeys(model.tasks, preparation), flip_test=flip_test)
        one, other = (reader._raw(c, preparation, model.tasks) for c in (crops, crops.flip(-1)))
        back = {task: maps.flip(-1) for task, maps in other.items()}
        back["pose"] = back["pose"][:, list(model.keypoint_layout.flip_indices)]
        back["segmentation"] = back["segmentation"][:, [0, 1, 3, 2, 4]]
        back["normal"] = back["normal"] * torch.tensor([-1.0, 1.0, 1.0])[:, None, None]
        return {task: float((back[task] - one[task]).abs().max()) for task in model.tasks}

    assert differences(flip_test=True) == dict.fromkeys(model.tasks, 0)
    assert min(differences(flip_test=False).values()) > 1e-3
    # And the mean is what a user gets.
    picture = crops[0].to(torch.uint8)
    one, both = (HumanVision([model], flip_test=flip)(picture) for flip in (False, True))
    assert not torch.equal(one.normals, both.normals)
    assert not torch.equal(one.class_map, both.class_map)


@torch.no_grad()
def test_convolutions_around_the_transformer_bring_its_features_to_a_quarter_of_the_size():
    model = MultiTaskModel(PYRAMID)
    assert isinstance(model.backbone, PyramidTransformer)
    assert model.features(PIXELS).shape == (2, 8, 16, 12)
    shapes = {name: tuple(output.shape) for name, output in model(PIXELS).items()}
    assert shapes == {
        "pose": (2, 6, 16, 12),
        "parts": (2, 5, 32, 24),
        "depth": (2, 1, 16, 12),
        "normals": (2, 3, 16, 12),
    }
    assert PYRAMID.map_grid((64, 48)) == shapes["parts"][2:]
    assert TINY.map_grid((64, 48)) == (16, 12)
    # Sizes other than its own work; those that halve unevenly are refused.
    assert model(torch.zeros(1, 3, 32, 80))["pose"].shape == (1, 6, 8, 20)
    with pytest.raises(ShapeError, match=r"multiples of 16, got \(1, 3, 32, 40\)"):
        model(torch.zeros(1, 3, 32, 40))


@torch.no_grad()
def test_people_of_a_batch_do_not_change_each_other():
    for config in (TINY, PYRAMID):
        model = MultiTaskModel(config).double()
        for parameter in model.parameters():
            parameter.add_(0.1 * torch.randn(parameter.shape, generator=GENERATOR))
        together = model(PIXELS.double())
        for index in range(2):
            for name, output in model(PIXELS[index : index + 1].double()).items():
                torch.testing.assert_close(output[0], together[name][index])


@torch.no_grad()
def test_features_come_from_the_transformer_and_from_every_size_above_it():
    model = MultiTaskModel(PYRAMID)
    backbone = model.backbone
    wanted = model.features(PIXELS)
    for parameter in (
        backbone.trunk[0].below.weight,
        backbone.trunk[0].across.weight,
        backbone.trunk[1].across.weight,
    ):
        kept = parameter.clone()
        parameter.zero_()
        assert not torch.allclose(model.features(PIXELS), wanted, atol=1e-3)
        parameter.copy_(kept)
    assert torch.equal(model.features(PIXELS), wanted)


@pytest.mark.parametrize("config", [TINY, PYRAMID], ids=["plain", "pyramid"])
@torch.no_grad()
def test_a_file_holds_the_whole_model(config, tmp_path):
    path = tmp_path / "model.safetensors"
    card = {"trained_on": "nothing", "limits": ["all"]}
    model = MultiTaskModel(config, seed=3).eval()
    save_multitask(model, path, card=card)
    for again in (load_multitask(path), load_checkpoint(path)):
        assert isinstance(again, MultiTaskModel)
        assert again.config == config
        assert again.card == card
        assert not again.training
        found, wanted = again(PIXELS), model(PIXELS)
        assert all(torch.equal(found[name], wanted[name]) for name in wanted)
    save_multitask(again, path, dtype=torch.float16)
    with safe_open(path, framework="pt") as file:
        assert {file.get_tensor(name).dtype for name in file.keys()} == {torch.float16}
    half = load_multitask(path)
    assert half.backbone.pos_embed.dtype == torch.float32
    torch.testing.assert_close(half(PIXELS)["pose"], wanted["pose"], rtol=0, atol=2e-3)
    assert load_multitask(path, dtype=torch.bfloat16)(PIXELS.bfloat16())["depth"].isfinite().all()


def test_initial_weights_come_from_the_seed_alone():
    state = torch.get_rng_state()
    first, second, other = (MultiTaskModel(TINY, seed=seed) for seed in (0, 0, 1))
    assert torch.equal(torch.get_rng_state(), state)
    for (name, one), two in zip(first.named_parameters(), second.parameters(), strict=True):
        assert torch.equal(one, two), name
    assert not torch.equal(first.backbone.pos_embed, other.backbone.pos_embed)
    with torch.no_grad():
        hidden = first.head_of("pose").deconv_layers[0](first.features(PIXELS))
        outputs = first(PIXELS)
    # Neither dies out nor blows up: what reaches the norms is of order 1.
    assert 0.3 < float(hidden.std()) < 3
    assert all(float(output.abs().max()) < 1 for output in outputs.values())


def test_damaged_later_and_other_files_are_refused(tmp_path):
    path = tmp_path / "model.safetensors"
    save_multitask(MultiTaskModel(TINY), path)
    later = {"format": "barelens.multitask", "format_version": "2", "config": "{}"}
    save_file({"a": torch.zeros(1)}, tmp_path / "later.safetensors", later)
    with pytest.raises(CheckpointError, match="version 2; this release reads up to 1"):
        load_multitask(tmp_path / "later.safetensors")
    save_file({"a": torch.zeros(1)}, tmp_path / "other.safetensors")
    with pytest.raises(CheckpointError, match=r"must be of format barelens\.multitask"):
        load_multitask(tmp_path / "other.safetensors")
    path.write_bytes(path.read_bytes()[:-100])
    with pytest.raises(CheckpointError, match=r"model\.safetensors"):
        load_multitask(path)


def test_settings_are_checked():
    with pytest.raises(ValueError, match="keypoints must hold different names"):
        MultiTaskConfig(("nose", "nose"), PARTS)
    with pytest.raises(ValueError, match="image_size must be a multiple"):
        MultiTaskConfig(NAMES, PARTS, image_size=(250, 192))
    for config in (TINY, PYRAMID):
        record = json.loads(json.dumps(vars(config)))
        assert MultiTaskConfig.from_record(record) == config


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"stem_blocks": (1, 1)}, r"one number more than stem_channels, got \(1, 1\)"),
        ({"trunk_channels": (8, 8, 8, 8)}, "no more than stem_channels"),
        ({"trunk_channels": ()}, "trunk_channels must have one number"),
        ({"trunk_channels": (12,)}, "trunk_channels must be multiples of 8"),
        ({"stem_channels": (8,), "stem_blocks": (0, 0)}, "trunk_channels must have"),
        ({"stem_channels": (), "stem_blocks": ()}, "needs stem_channels"),
        ({"patch_size": 8}, "patch_size must be 16"),
    ],
)
def test_convolutions_that_do_not_fit_are_named(changes, message):
    with pytest.raises(ValueError, match=message):
        MultiTaskModel(replace(PYRAMID, **changes))


def test_the_default_model_fits_into_25_megabytes():
    coco = keypoint_layout("coco17").names
    model = MultiTaskModel(MultiTaskConfig(coco, part_labels(28).names))
    assert 2 * sum(parameter.numel() for parameter in model.parameters()) < 25e6


def test_own_keypoints_are_named_mirrored_and_converted():
    layout = named_layout(NAMES)
    assert layout.flip_indices == (0, 2, 1, 4, 3, 5)
    assert {frozenset(layout.names[i] for i in line) for line in layout.skeleton} >= {
        frozenset(("left_shoulder", "right_shoulder")),
        frozenset(("left_shoulder", "left_hip")),
    }
    assert named_layout(keypoint_layout("wholebody133").names) is keypoint_layout("wholebody133")
    labels = named_parts(PARTS)
    known = part_labels(29)
    assert labels.palette[1] == known.palette[known.names.index("Hair")]
    assert labels.flip_indices == (0, 1, 3, 2, 4)
    assert len(set(labels.palette)) == len(PARTS)


def test_outputs_say_what_their_keypoints_and_parts_are():
    image = torch.rand(3, 60, 90)
    output = HumanVision([MultiTaskModel(TINY).eval()])(image)
    assert output.layout.names == NAMES
    assert output.parts.names == PARTS
    assert output.classes == 5
    result = coco_results({1: output})[0]
    scores = result["keypoints"][2::3]
    assert len(scores) == 17
    known = [name in NAMES for name in keypoint_layout("coco17").names]
    assert [score > 0 for score in scores] == known
    body = openpose_record(output)["people"][0]["pose_keypoints_2d"]
    assert len(body) == 75
    assert math.isclose(body[1 * 3 + 2], min(scores[5], scores[6]), abs_tol=1e-3)
    picture = (image.movedim(0, -1) * 255).to(torch.uint8)
    assert draw_people(picture, output, min_score=0).shape == (60, 90, 3)
    drawn = draw_parts(picture, output.class_map, classes=output.parts)
    assert drawn.shape == (60, 90, 3)


def test_fewer_tasks_than_heads_can_be_run():
    model = MultiTaskModel(TINY).eval()
    vision = HumanVision([model], tasks=["depth", "parts"])
    assert vision.tasks == ("segmentation", "depth")
    output = vision(torch.rand(3, 60, 90))
    assert output.people[0].keypoints is None
    assert output.normals is None
    assert output.depth is not None
    with pytest.raises(ValueError, match=r"tasks must be of pose, .*, got albedo"):
        HumanVision([model], tasks=["albedo"])
    with pytest.raises(ValueError, match="got none"):
        HumanVision([model], tasks=[])
