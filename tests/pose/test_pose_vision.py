"""One call: pictures in, people in the picture's own coordinates out."""

from pathlib import Path
from types import SimpleNamespace

import numpy as np
import pytest
import torch
from torch import nn
from torch.nn import functional as F

from barelens.imaging.shapes import ShapeError
from barelens.pose import (
    HumanModel,
    HumanVision,
    MultiTaskConfig,
    MultiTaskModel,
    Preparation,
    reference_preparation,
    save_checkpoint,
    save_multitask,
)
from barelens.pose.labels import keypoint_layout
from barelens.pose.sapiens import DeconvHead, Pointmap, VisionTransformer, ViTConfig

FIXTURES = Path(__file__).parent / "fixtures"
SIZE = (128, 96)


class Lookalike(nn.Module):
    """A backbone that hands its pixels on, in 0..1, and counts its passes."""

    def __init__(self):
        super().__init__()
        self.config = SimpleNamespace(image_size=SIZE)
        self.embed_dim = 3
        self.scale = nn.Parameter(torch.ones(()))
        self.passes = 0

    def forward(self, pixels):
        self.passes += 1
        mean = torch.tensor(Preparation(SIZE, "person").mean)[:, None, None]
        deviation = torch.tensor(Preparation(SIZE, "person").deviation)[:, None, None]
        return (pixels * deviation + mean) / 255 * self.scale


class DotHead(nn.Module):
    """Heatmaps of where the picture is green; noses, eyes and all in the same place."""

    def forward(self, features):
        # The corner cells of a heatmap are the corner pixels of the crop.
        size = (features.shape[2] // 4, features.shape[3] // 4)
        green = F.interpolate(features[:, 1:2], size=size, mode="bilinear", align_corners=True)
        return green.expand(-1, 17, -1, -1)


class PartHead(nn.Module):
    """Three classes: where the picture is dark, green or red."""

    def forward(self, features):
        return F.avg_pool2d(torch.stack([torch.full_like(features[:, 0], 0.4), features[:, 1],
                                         features[:, 0]], dim=1), 2)  # fmt: skip


class ChannelHead(nn.Module):
    """The first channels at half size."""

    def __init__(self, channels):
        super().__init__()
        self.channels = channels

    def forward(self, features):
        return F.avg_pool2d(features[:, : self.channels], 2)


class PointHead(nn.Module):
    def forward(self, features):
        return Pointmap(F.avg_pool2d(features, 2), torch.full((len(features), 1), 2.0))


def scene(dots, height=200, width=300, spread=6.0):
    """A dark picture with soft green dots at x, y."""
    down, across = torch.meshgrid(torch.arange(height), torch.arange(width), indexing="ij")
    image = torch.zeros(3, height, width)
    for x, y in dots:
        image[1] += torch.exp(-((down - y) ** 2 + (across - x) ** 2) / (2 * spread**2))
    return image.clamp(0, 1)


def around(x, y, size=60.0):
    return [x - size * 0.4, y - size * 0.5, x + size * 0.4, y + size * 0.6]


def model(**heads):
    return HumanModel(Lookalike(), heads)


@pytest.mark.parametrize("flip_test", [False, True])
def test_each_person_is_found_where_it_is(flip_test):
    pose = model(pose=DotHead())
    dots = [[(80.0, 90.0), (220.5, 60.25)], [(150.0, 100.0)], []]
    images = [scene(places, 200 + 20 * n, 300 - 30 * n) for n, places in enumerate(dots)]
    boxes = [torch.tensor([around(*place) for place in places]).reshape(-1, 4) for places in dots]
    vision = HumanVision([pose], flip_test=flip_test, batch_size=2)
    outputs = vision(images, boxes)
    assert pose.backbone.passes == (4 if flip_test else 2)
    for image, places, output in zip(images, dots, outputs, strict=True):
        assert output.image_size == image.shape[1:]
        assert len(output.people) == len(places)
        for place, person in zip(places, output.people, strict=True):
            assert person.keypoints.shape == (17, 2)
            # Published decoding spreads the last pixel over one too many: up to 1 px of the crop.
            pixel = 60 * 1.1 * 1.25 / SIZE[0]
            assert (person.keypoints - torch.tensor(place)).abs().max() < 1.2 * pixel
            assert person.keypoint_scores.min() > 0.8


def test_without_boxes_the_whole_picture_is_one_person():
    output = HumanVision([model(pose=DotHead())])(scene([(150.0, 100.0)]))
    assert len(output.people) == 1
    assert output.people[0].box.tolist() == [0, 0, 300, 200]
    assert (output.people[0].keypoints[0] - torch.tensor([150.0, 100.0])).abs().max() < 15


@pytest.mark.parametrize("framing", ["person", "stretch", "pad"])
def test_maps_lie_on_the_picture(framing):
    image = scene([(150.0, 100.0)], spread=20)
    preparation = Preparation(SIZE, framing)
    heads = model(segmentation=PartHead(), depth=ChannelHead(2), normal=ChannelHead(3))
    vision = HumanVision([heads], preparations=dict.fromkeys(heads.tasks, preparation))
    assert heads.backbone.passes == 0
    output = vision(image)
    assert heads.backbone.passes == 1
    wanted = image[1] > 0.4
    agreement = (output.class_map == 1) == wanted
    assert output.class_map.dtype == torch.uint8
    assert output.classes == 3
    assert agreement.float().mean() > 0.99
    assert not agreement[(image[1] > 0.9) | (image[1] < 0.1)].logical_not().any()
    assert torch.equal(output.mask, output.class_map > 0)
    assert output.normals.shape == (3, 200, 300)
    sure = image[1] > 0.7
    length = torch.linalg.vector_norm(output.normals, dim=0)
    torch.testing.assert_close(length[sure], torch.ones_like(length[sure]))
    assert (output.normals[1][sure] > 0.99).all()
    if framing == "person":
        assert torch.equal(output.people[0].mask, output.mask)
        assert torch.isnan(output.depth[~output.mask]).all()
        assert torch.isfinite(output.depth[output.mask]).all()


def test_other_maps_are_given_in_their_units():
    image = scene([(150.0, 100.0)], spread=20)
    heads = model(pointmap=PointHead(), albedo=ChannelHead(3))
    output = HumanVision(
        [heads],
        preparations=dict.fromkeys(heads.tasks, Preparation(SIZE, "pad")),
    )(image)
    torch.testing.assert_close(output.albedo, image, rtol=0, atol=0.08)
    torch.testing.assert_close(output.points, image / 2, rtol=0, atol=0.04)

    class Matte(nn.Module):
        def forward(self, features):
            return torch.cat([features, features[:, 1:2]], dim=1)

    matte = HumanVision(
        [model(matting=Matte())], preparations={"matting": Preparation(SIZE, "stretch")}
    )(image)
    torch.testing.assert_close(matte.alpha, image[1], rtol=0, atol=0.08)
    assert torch.equal(matte.mask, matte.alpha > 0.5)


def test_kinds_of_pictures_give_the_same():
    image = (scene([(150.0, 100.0)]) * 255).round().to(torch.uint8)
    vision = HumanVision([model(pose=DotHead())], flip_test=False)
    wanted = vision(image).people[0].keypoints
    for same in (image.movedim(0, -1).numpy(), image.movedim(0, -1).contiguous().numpy()):
        assert torch.equal(vision(same).people[0].keypoints, wanted)
    floating = vision(image.double() / 255).people[0].keypoints
    torch.testing.assert_close(floating, wanted, rtol=0, atol=0.2)


def test_several_models_add_up_in_one_output():
    vision = HumanVision([model(pose=DotHead()), model(segmentation=PartHead())])
    assert vision.tasks == ("pose", "segmentation")
    output = vision(scene([(150.0, 100.0)]))
    person = output.people[0]
    assert person.keypoints is not None
    assert person.mask is not None
    assert output.to("cpu").people[0].keypoints is not None
    assert 0 < person.score <= 1.1


def test_what_does_not_fit_is_refused():
    pose = model(pose=DotHead())
    vision = HumanVision([pose])
    image = scene([])
    with pytest.raises(ValueError, match="each task once"):
        HumanVision([pose, pose])
    with pytest.raises(ValueError, match="batch_size"):
        HumanVision([pose], batch_size=0)
    with pytest.raises(ShapeError, match="an image"):
        vision(image[:2])
    with pytest.raises(ShapeError, match="an image"):
        vision(np.zeros((8, 8), np.uint8))
    with pytest.raises(ValueError, match=r"\[0, 1\]"):
        vision(image + 2)
    with pytest.raises(TypeError, match="uint8 or floating"):
        vision(image.long())
    with pytest.raises(ShapeError, match="boxes"):
        vision(image, torch.zeros(4))
    with pytest.raises(ValueError, match="boxes must come"):
        vision([image], [None, None])
    with pytest.raises(ValueError, match="framing 'person'"):
        HumanVision([pose], preparations={"pose": Preparation(SIZE, "stretch")})


@pytest.mark.filterwarnings("ignore::barelens.pose.LicenceNotice")
def test_checkpoints_load_into_one_call(tmp_path):
    torch.manual_seed(0)
    config = ViTConfig(32, 1, 4, 48, image_size=(64, 48))
    people = HumanModel(
        VisionTransformer(config),
        {
            "pose": DeconvHead(32, (16,), (16,), 17, final="final_layer"),
            "segmentation": DeconvHead(32, (16,), (16,), 28, final="conv_seg"),
            "depth": DeconvHead(32, (16,), (16,), 1, final="conv_seg"),
        },
    )
    save_checkpoint(tmp_path / "people.safetensors", people)
    vision = HumanVision.load(tmp_path / "people.safetensors", dtype=torch.bfloat16)
    output = vision(torch.rand(3, 50, 70))
    assert output.people[0].keypoints.dtype == torch.float32
    assert torch.isfinite(output.people[0].keypoints).all()
    assert output.class_map.shape == (50, 70)
    published = HumanModel(
        VisionTransformer(config), {"pose": people.head_of("pose")}, attributes={"pose": "head"}
    )
    torch.save(published.state_dict(), tmp_path / "published.pth")
    (tmp_path / "config.json").write_text('{"num_heads": 4, "img_size": [64, 48]}')
    lite = HumanVision.load(tmp_path / "published.pth", lite=True)
    assert lite(torch.rand(3, 50, 70)).people[0].keypoints.shape == (17, 2)
    torch.save(people.backbone.state_dict(), tmp_path / "encoder.pth")
    with pytest.raises(ValueError, match="without a head"):
        HumanVision.load(tmp_path / "encoder.pth")


@torch.no_grad()
def test_maps_of_published_models_come_from_one_look_as_published():
    """A model that sees other parts in the left half than in the right gives itself away."""

    class LeftHead(nn.Module):
        def forward(self, features):
            logits = torch.zeros(len(features), 28, *features.shape[2:])
            logits[:, 1, :, : features.shape[3] // 2] = 1
            return logits

    seen = model(segmentation=LeftHead())
    image = torch.rand(3, 64, 48, generator=torch.Generator().manual_seed(0))
    one, other = (HumanVision([seen], flip_test=flip)(image) for flip in (False, True))
    assert seen.backbone.passes == 2
    assert 0 < float(one.mask.float().mean()) < 1
    assert torch.equal(one.class_map, other.class_map)


@torch.no_grad()
def test_published_keypoints_equal_those_put_together_by_hand():
    from barelens.pose import from_state_dict
    from barelens.pose.crops import boxes_to_frames, crop_people
    from barelens.pose.decode import decode_heatmaps, place_keypoints
    from barelens.pose.flip import flip_test
    from barelens.pose.preparation import normalise_pixels

    data = torch.load(FIXTURES / "v1_pose308.pt", weights_only=True)
    published = from_state_dict(data["state_dict"], "sapiens", "pose", data["config"])
    image = torch.from_numpy(np.load(FIXTURES / "v1_codec.npz")["image"]).movedim(-1, 0)
    boxes = torch.tensor([[10.0, 20, 100, 200], [200, 30, 333, 90]])
    found = HumanVision([published], batch_size=1)(image, boxes)
    preparation = reference_preparation("sapiens", "pose", SIZE)
    frames = boxes_to_frames(boxes, 0.75)
    pixels = normalise_pixels(crop_people(image, frames, SIZE), preparation)
    indices = torch.tensor(keypoint_layout(308).flip_indices)
    heatmaps = flip_test(published, pixels, flip_indices=indices)
    wanted = place_keypoints(decode_heatmaps(heatmaps, SIZE), SIZE, frames)
    for index, person in enumerate(found.people):
        torch.testing.assert_close(person.keypoint_scores, wanted.scores[index])
        # Heatmaps of random weights are rough, so that Newton steps magnify the last digit.
        near = (person.keypoints - wanted.positions[index]).abs().amax(-1) < 0.05
        assert near.float().mean() > 0.95


@pytest.mark.gpu
@pytest.mark.skipif(not torch.cuda.is_available(), reason="needs a CUDA device")
def test_compiled_bfloat16_on_a_gpu_is_near_float32_on_the_processor(tmp_path):
    config = MultiTaskConfig(("nose", "left_eye", "right_eye"), ("Background", "Hair"))
    save_multitask(MultiTaskModel(config), tmp_path / "model.safetensors")
    image = torch.rand(3, 300, 200, generator=torch.Generator().manual_seed(0))
    wanted = HumanVision.load(tmp_path / "model.safetensors")(image)
    fast = HumanVision.load(
        tmp_path / "model.safetensors", device="cuda", dtype=torch.bfloat16, compile=True
    )(image)
    assert fast.depth.device.type == "cuda"
    spread = float(wanted.depth[wanted.depth.isfinite()].std())
    known = wanted.depth.isfinite() & fast.depth.cpu().isfinite()
    assert (fast.depth.cpu() - wanted.depth)[known].abs().mean() < 0.1 * spread
