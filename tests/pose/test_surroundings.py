"""Depth of the scene and masks of what one points at: the real classes at toy size."""

import json

import pytest
import torch

from barelens.imaging.shapes import ShapeError
from barelens.pose import HumanOutput, Person
from barelens.pose.surroundings import FollowedMasks, Prompt, PromptedMasks, SceneDepth
from barelens.pose.video import Frame

transformers = pytest.importorskip("transformers", minversion="5")

SIDE = 128
WIDTH = 128  # more than the 64 channels that SAM 2's memory has at any size


def randomised(model):
    """Draw all weights from a seed, gains near 1."""
    generator = torch.Generator().manual_seed(0)
    with torch.no_grad():
        for parameter in model.parameters():
            spread = 1 / parameter[0].numel() ** 0.5 if parameter.ndim > 1 else 0.1
            shift = 1.0 if parameter.ndim == 1 and parameter.min() > 0.9 else 0.0
            drawn = torch.randn(parameter.shape, generator=generator)
            parameter.copy_(drawn * spread + shift)
    return model.eval()


def pictures(*sizes):
    generator = torch.Generator().manual_seed(0)
    return [
        torch.nn.functional.interpolate(
            torch.rand(1, 3, 5, 6, generator=generator) * 255, size, mode="bilinear"
        )[0].to(torch.uint8)
        for size in sizes
    ]


@pytest.fixture(scope="module", params=["relative", "metric"])
def depth_folder(request, tmp_path_factory):
    backbone = transformers.Dinov2Config(
        hidden_size=16, num_hidden_layers=4, num_attention_heads=2, mlp_ratio=2, image_size=28,
        patch_size=14, out_features=["stage1", "stage2", "stage3", "stage4"],
        reshape_hidden_states=False, apply_layernorm=True,
    )  # fmt: skip
    config = transformers.DepthAnythingConfig(
        backbone_config=backbone, reassemble_hidden_size=16, neck_hidden_sizes=[8, 8, 8, 8],
        fusion_hidden_size=8, head_hidden_size=8, depth_estimation_type=request.param, max_depth=20,
    )  # fmt: skip
    folder = tmp_path_factory.mktemp(request.param)
    randomised(transformers.DepthAnythingForDepthEstimation(config)).save_pretrained(folder)
    settings = {
        "size": {"height": 70, "width": 70},
        "keep_aspect_ratio": True,
        "ensure_multiple_of": 14,
        "resample": 3,
        "image_mean": [0.485, 0.456, 0.406],
        "image_std": [0.229, 0.224, 0.225],
    }
    (folder / "preprocessor_config.json").write_text(json.dumps(settings))
    return folder, settings


@torch.no_grad()
def test_depth_of_the_scene_is_that_of_transformers(depth_folder):
    folder, settings = depth_folder
    image = pictures((90, 130))[0]
    output = SceneDepth.load(folder)(image)
    model = transformers.DepthAnythingForDepthEstimation.from_pretrained(folder).eval()
    processor = transformers.DPTImageProcessorPil(**settings)
    inputs = processor(images=image.movedim(0, -1).numpy(), return_tensors="pt")
    raw = model(pixel_values=inputs["pixel_values"]).predicted_depth[None]
    wanted = torch.nn.functional.interpolate(raw, (90, 130), mode="bilinear")[0, 0]
    assert output.scene_depth.shape == (90, 130)
    assert output.scene_depth_metric is (folder.name.startswith("metric"))
    spread = float(wanted.max() - wanted.min())
    assert spread > 0
    assert (output.scene_depth - wanted).abs().max() < 0.02 * spread


def test_depth_joins_what_is_known_and_batches_equal_single_pictures(depth_folder):
    images = pictures((90, 130), (130, 90), (90, 130), (40, 40))
    known = [HumanOutput(tuple(image.shape[1:]), (Person(torch.ones(4)),)) for image in images]
    depth = SceneDepth.load(depth_folder[0], batch_size=2)
    outputs = depth(images, known)
    for image, output in zip(images, outputs, strict=True):
        assert len(output.people) == 1
        alone = depth(image).scene_depth
        torch.testing.assert_close(output.scene_depth, alone, rtol=1e-3, atol=1e-4)
    with pytest.raises(ValueError, match="outputs must come"):
        depth(images, known[:1])


def sam_config(kind):
    backbone = transformers.Sam2HieraDetConfig(
        hidden_size=8, image_size=[SIDE, SIDE], blocks_per_stage=[1, 1, 2, 1],
        embed_dim_per_stage=[8, 16, 32, 64], num_attention_heads_per_stage=[1, 1, 2, 4],
        window_size_per_stage=[8, 4, 4, 4], global_attention_blocks=[3],
    )  # fmt: skip
    vision = transformers.Sam2VisionConfig(
        backbone_config=backbone, backbone_channel_list=[64, 32, 16, 8], fpn_hidden_size=WIDTH,
        backbone_feature_sizes=[[32, 32], [16, 16], [8, 8]],
    )  # fmt: skip
    prompts = {"hidden_size": WIDTH, "image_size": SIDE, "patch_size": 16, "mask_input_channels": 4}
    decoder = {
        "hidden_size": WIDTH, "mlp_dim": 32, "num_attention_heads": 2, "iou_head_hidden_dim": 16,
    }  # fmt: skip
    return getattr(transformers, f"{kind}Config")(
        vision_config=vision, prompt_encoder_config=prompts, mask_decoder_config=decoder,
        **({} if kind == "Sam2" else MEMORY),
    )  # fmt: skip


MEMORY = {
    "image_size": SIDE,
    "num_maskmem": 3,
    "max_object_pointers_in_encoder": 4,
    "memory_attention_hidden_size": WIDTH,
    "memory_attention_num_layers": 1,
    "memory_attention_feed_forward_hidden_size": 32,
    "memory_attention_rope_feat_sizes": [8, 8],
    "memory_encoder_hidden_size": WIDTH,
    "memory_encoder_output_channels": 64,
    "mask_downsampler_embed_dim": WIDTH,
    "memory_fuser_embed_dim": WIDTH,
    "memory_fuser_intermediate_dim": 32,
}


def sam_folder(kind, folder):
    randomised(getattr(transformers, f"{kind}Model")(sam_config(kind))).save_pretrained(folder)
    settings = {"size": {"height": SIDE, "width": SIDE}, "resample": 2}
    (folder / "preprocessor_config.json").write_text(json.dumps(settings))
    return folder


@pytest.fixture(scope="module")
def masks_folder(tmp_path_factory):
    return sam_folder("Sam2", tmp_path_factory.mktemp("sam2"))


@pytest.fixture(scope="module")
def video_folder(tmp_path_factory):
    return sam_folder("Sam2Video", tmp_path_factory.mktemp("sam2video"))


BOX = Prompt(box=torch.tensor([10.0, 20, 60, 80]))
POINT = Prompt(points=torch.tensor([[30.0, 40]]))
POINTS = Prompt(points=torch.tensor([[30.0, 40], [90, 10]]), inside=torch.tensor([True, False]))


@torch.no_grad()
def test_masks_are_those_of_transformers(masks_folder):
    image = pictures((100, 140))[0]
    found = PromptedMasks.load(masks_folder)([image], [[BOX, POINT, POINTS]])[0]
    assert found.masks.shape == (3, 100, 140)
    assert ((found.scores >= 0) & (found.scores <= 1)).all()
    model = transformers.Sam2Model.from_pretrained(masks_folder).eval()
    resized = torch.nn.functional.interpolate(
        image[None].float(), (SIDE, SIDE), mode="bilinear", antialias=True
    )
    mean = torch.tensor([0.485, 0.456, 0.406])[:, None, None]
    deviation = torch.tensor([0.229, 0.224, 0.225])[:, None, None]
    pixels = (resized.round() / 255 - mean) / deviation
    scale = torch.tensor([SIDE / 140, SIDE / 100])
    asked = [
        {"input_boxes": (BOX.box.reshape(2, 2) * scale).reshape(1, 1, 4)},
        {"input_points": (POINT.points * scale)[None, None], "input_labels": torch.tensor([[[1]]])},
        {
            "input_points": (POINTS.points * scale)[None, None],
            "input_labels": torch.tensor([[[1, 0]]]),
        },
    ]
    for prompt, mask, multimask in zip(asked, found.masks, (False, True, False), strict=True):
        output = model(pixel_values=pixels, multimask_output=multimask, **prompt)
        best = output.iou_scores[0, 0].argmax()
        logits = output.pred_masks[0, :, best][:, None]
        wanted = torch.nn.functional.interpolate(logits, (100, 140), mode="bilinear")[0, 0] > 0
        assert 0 < wanted.float().mean() < 1
        assert (mask == wanted).float().mean() > 0.999


def test_prompts_do_not_depend_on_each_other(masks_folder):
    images = pictures((100, 140), (60, 60), (100, 140))
    prompts = [[BOX, POINTS, BOX], [], [POINT, BOX]]
    segment = PromptedMasks.load(masks_folder, batch_size=2)
    for image, asked, found in zip(images, prompts, segment(images, prompts), strict=True):
        assert found.masks.shape == (len(asked), *image.shape[1:])
        for prompt, mask in zip(asked, found.masks, strict=True):
            alone = segment([image], [[prompt]])[0]
            assert (alone.masks[0] == mask).float().mean() > 0.999


def test_every_person_gets_the_mask_of_its_box(masks_folder):
    image = pictures((100, 140))[0]
    nobody = Person(torch.tensor([0.0, 0, 140, 100]), box_score=0.0)
    output = HumanOutput((100, 140), (Person(BOX.box), nobody))
    segment = PromptedMasks.load(masks_folder)
    found = segment.mask_people([image], [output])[0]
    assert torch.equal(found.people[0].mask, segment([image], [[BOX]])[0].masks[0])
    assert found.people[1].mask is None


def clip(count):
    image = pictures((100, 140))[0]
    return [Frame(n, n / 10, image.roll(3 * n, dims=-1)) for n in range(count)]


@torch.no_grad()
def test_masks_follow_as_in_transformers_with_a_bounded_memory(video_folder):
    from barelens.pose.surroundings.video_masks import _Memory

    frames = clip(12)
    follow = FollowedMasks.load(video_folder)
    found = list(follow(frames, {7: BOX, 3: POINT}))
    assert [frame.index for frame, _ in found] == list(range(12))
    assert all(set(masks) == {7, 3} for _, masks in found)
    # transformers itself, with every frame kept
    memory = _Memory(follow._model, follow._rules)
    memory._forget = lambda frame: None
    for (_, masks), frame in zip(found, frames, strict=True):
        wanted = memory.look(frame.image, {7: BOX, 3: POINT} if frame.index == 0 else {})
        for number in (7, 3):
            assert torch.equal(masks[number].masks, wanted[number].masks)
            assert torch.equal(masks[number].scores, wanted[number].scores)
    assert len(memory._session.processed_frames) == 12
    bounded = _Memory(follow._model, follow._rules)
    for frame in frames:
        bounded.look(frame.image, {7: BOX} if frame.index == 0 else {})
    assert len(bounded._session.processed_frames) == 0
    assert len(bounded._session.output_dict_per_obj[0]["non_cond_frame_outputs"]) <= 4


def test_people_of_a_video_get_masks_by_their_tracks(video_folder):
    frames = clip(4)

    def people(index):
        first = Person(BOX.box + 3 * index, track=0)
        second = Person(torch.tensor([80.0, 5, 130, 95]), track=1)
        return HumanOutput((100, 140), (first,) if index == 0 else (second, first))

    followed = [(frame, people(frame.index)) for frame in frames]
    outputs = [output for _, output in FollowedMasks.load(video_folder).mask_people(followed)]
    assert [[p.track for p in output.people] for output in outputs] == [[0], [1, 0], [1, 0], [1, 0]]
    assert all(p.mask.shape == (100, 140) for output in outputs for p in output.people)
    alone = FollowedMasks.load(video_folder)(frames, {0: BOX})
    for output, (_, masks) in zip(outputs, alone, strict=True):
        # Not equal: transformers encodes the memory of all things otherwise where one is new.
        agreement = output.people[-1].mask == masks[0].masks[0]
        assert agreement.float().mean() > 0.98


def test_empty_and_ill_shaped_prompts_are_refused(video_folder):
    with pytest.raises(ValueError, match="a point or a box"):
        Prompt()
    with pytest.raises(ShapeError, match="inside must have shape"):
        Prompt(points=torch.zeros(2, 2), inside=torch.ones(3, dtype=torch.bool))
    with pytest.raises(ValueError, match="prompts must point"):
        next(FollowedMasks.load(video_folder)(clip(1), {}))
