"""Person detectors: the real classes at toy size, and the boxes on their way into the one call."""

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from barelens.pose import Detections, HumanVision, MultiTaskConfig, MultiTaskModel
from barelens.pose.boxes import box_cover, box_iou, suppress_overlaps
from barelens.pose.detect import TransformersDetector
from barelens.pose.pretrained import PictureRules

transformers = pytest.importorskip("transformers", minversion="5")

NAMES = {0: "Person"}


def detr():
    backbone = transformers.ResNetConfig(
        embedding_size=8, hidden_sizes=[8, 8, 8, 16], depths=[1] * 4, out_features=["stage4"],
        layer_type="basic",
    )  # fmt: skip
    config = transformers.DetrConfig(
        use_timm_backbone=False, use_pretrained_backbone=False, backbone=None,
        backbone_config=backbone, d_model=16, encoder_layers=1, decoder_layers=1,
        encoder_attention_heads=2, decoder_attention_heads=2, encoder_ffn_dim=16,
        decoder_ffn_dim=16, num_queries=12, id2label=NAMES,
    )  # fmt: skip
    processor = {"size": {"shortest_edge": 96, "longest_edge": 128}, "resample": 2}
    return transformers.DetrForObjectDetection, config, processor, "DetrImageProcessorPil"


def rt_detr():
    backbone = transformers.RTDetrResNetConfig(
        embedding_size=8, hidden_sizes=[8, 8, 8, 16], depths=[1] * 4, layer_type="basic",
        out_features=["stage2", "stage3", "stage4"],
    )  # fmt: skip
    config = transformers.RTDetrConfig(
        backbone_config=backbone, encoder_hidden_dim=16, encoder_in_channels=[8, 8, 16],
        encoder_layers=1, encoder_ffn_dim=16, encoder_attention_heads=2, d_model=16,
        num_queries=12, decoder_in_channels=[16, 16, 16], decoder_ffn_dim=16, decoder_layers=1,
        decoder_attention_heads=2, num_denoising=0, id2label=NAMES,
        freeze_backbone_batch_norms=False, feat_strides=[8, 16, 32],
    )  # fmt: skip
    processor = {"size": {"height": 96, "width": 96}, "resample": 2, "do_normalize": False}
    return transformers.RTDetrForObjectDetection, config, processor, "RTDetrImageProcessorPil"


@pytest.fixture(scope="module", params=[detr, rt_detr])
def saved(request, tmp_path_factory):
    """A detector of random weights in a folder, and transformers' own processor for it."""
    import json

    kind, config, settings_, processor = request.param()
    folder = tmp_path_factory.mktemp(request.param.__name__)
    generator = torch.Generator().manual_seed(0)
    model = kind(config).eval()
    with torch.no_grad():
        for parameter in model.parameters():
            # Biases too: those that transformers draws from the global generator would vary.
            spread = 1.5 / parameter[0].numel() ** 0.5 if parameter.ndim > 1 else 0.1
            shift = 1.0 if parameter.ndim == 1 and parameter.min() > 0.9 else 0.0
            drawn = torch.randn(parameter.shape, generator=generator)
            parameter.copy_(drawn * spread + shift)
    model.save_pretrained(folder)
    (folder / "preprocessor_config.json").write_text(json.dumps(settings_))
    return folder, model, getattr(transformers, processor)(**settings_)


def pictures(*sizes):
    generator = np.random.default_rng(0)
    rough = [generator.integers(0, 256, (3, 6, 8)) for _ in sizes]
    smooth = [
        torch.nn.functional.interpolate(torch.from_numpy(r)[None].float(), size, mode="bicubic")
        for r, size in zip(rough, sizes, strict=True)
    ]
    return [image[0].round().clamp(0, 255).to(torch.uint8) for image in smooth]


class Prepared:
    """Rules that give pixels prepared elsewhere: a single level of 255 may choose other queries."""

    def __init__(self, pixels):
        self.pixels = pixels

    def fitted_size(self, height, width):
        return tuple(self.pixels.shape[1:])

    def __call__(self, image):
        return self.pixels


@torch.no_grad()
def test_people_are_those_that_transformers_finds(saved):
    _, model, processor = saved
    image = pictures((150, 200))[0]
    inputs = processor(images=image.movedim(0, -1).numpy(), return_tensors="pt")
    rules = Prepared(inputs["pixel_values"][0])
    found = TransformersDetector(model, rules, score_limit=0.0, iou_limit=1.0)([image])[0]
    wanted = processor.post_process_object_detection(
        model(pixel_values=inputs["pixel_values"]), threshold=0.0, target_sizes=[(150, 200)]
    )[0]
    boxes = wanted["boxes"].clamp(min=0).minimum(torch.tensor([200.0, 150, 200, 150]))
    sound = (boxes[:, 2:] - boxes[:, :2] >= 1).all(dim=1)
    assert len(found.boxes) == int(sound.sum()) > 3
    torch.testing.assert_close(found.scores, wanted["scores"][sound].sort(descending=True)[0])
    assert torch.cdist(found.boxes, boxes[sound]).amin(dim=1).max() < 1e-2


def test_batches_of_several_sizes_equal_single_pictures(saved):
    detector = TransformersDetector.load(saved[0], score_limit=0.1, batch_size=2)
    images = pictures((60, 90), (90, 60), (60, 90), (60, 90), (200, 100))
    together = detector(images)
    for image, found in zip(images, together, strict=True):
        alone = detector([image])[0]
        torch.testing.assert_close(found.boxes, alone.boxes, rtol=0, atol=1e-3)
        torch.testing.assert_close(found.scores, alone.scores, rtol=0, atol=1e-5)
        assert (found.boxes[:, 2:] > found.boxes[:, :2]).all()


def test_limits_and_labels_are_checked(saved):
    with pytest.raises(ValueError, match="labels must name classes"):
        TransformersDetector.load(saved[0], labels=("unicorn",))
    with pytest.raises(ValueError, match="score_limit"):
        TransformersDetector.load(saved[0], score_limit=2)
    assert (
        len(TransformersDetector.load(saved[0], score_limit=1.0)(pictures((50, 50)))[0].boxes) == 0
    )


@pytest.mark.parametrize("size", [(37, 211), (480, 640), (96, 70), (333, 125)])
@pytest.mark.parametrize(
    ("name", "rules"),
    [
        ("DetrImageProcessorPil", {"size": {"shortest_edge": 80, "longest_edge": 133}}),
        ("RTDetrImageProcessorPil", {"size": {"height": 96, "width": 64}, "do_normalize": False}),
        (
            "DPTImageProcessorPil",
            {
                "size": {"height": 98, "width": 98},
                "keep_aspect_ratio": True,
                "ensure_multiple_of": 14,
                "resample": 3,
                "image_mean": [0.485, 0.456, 0.406],
                "image_std": [0.229, 0.224, 0.225],
            },
        ),
    ],
)
def test_pictures_are_prepared_as_by_the_processors_of_transformers(name, rules, size):
    image = pictures(size)[0]
    processor = getattr(transformers, name)(**rules)
    wanted = processor(images=image.movedim(0, -1).numpy(), return_tensors="pt")["pixel_values"][0]
    found = PictureRules.from_settings(rules)(image)
    assert found.shape == wanted.shape
    one_level = 1 / 255 / (0.224 if rules.get("do_normalize", True) else 1)
    assert (found - wanted).abs().max() < 1.05 * one_level


def test_other_interpolations_are_refused():
    with pytest.raises(ValueError, match="resample must be"):
        PictureRules.from_settings({"resample": 1})


coordinates = st.integers(0, 12).map(float)
some_boxes = st.lists(
    st.tuples(coordinates, coordinates, coordinates, coordinates), min_size=0, max_size=12
).map(
    lambda corners: torch.tensor(
        [[min(a, c), min(b, d), max(a, c) + 1, max(b, d) + 1] for a, b, c, d in corners]
    ).reshape(-1, 4)
)


@settings(max_examples=60, deadline=None)
@given(some_boxes, st.floats(0, 1), st.integers(0, 1000))
def test_suppression_keeps_the_best_of_every_group(boxes, limit, seed):
    scores = torch.rand(len(boxes), generator=torch.Generator().manual_seed(seed))
    kept = suppress_overlaps(boxes, scores, limit)
    overlaps = box_iou(boxes, boxes)
    assert (scores[kept].diff() <= 0).all()
    among = overlaps[kept][:, kept].fill_diagonal_(0)
    assert (among <= limit).all()
    for index in set(range(len(boxes))) - set(kept.tolist()):
        better = kept[scores[kept] >= scores[index]]
        assert (overlaps[index, better] > limit).any()


@settings(max_examples=40, deadline=None)
@given(some_boxes)
def test_overlap_is_symmetric_and_one_with_itself(boxes):
    overlaps = box_iou(boxes, boxes)
    assert torch.equal(overlaps, overlaps.mT)
    assert torch.equal(overlaps.diagonal(), torch.ones(len(boxes)))
    assert ((overlaps >= 0) & (overlaps <= 1)).all()
    assert torch.allclose(box_iou(boxes + 5, boxes + 5), overlaps)
    cover = box_cover(boxes, boxes)
    assert ((cover >= overlaps) & (cover <= 1)).all()
    inner = boxes + torch.tensor([0.25, 0.25, -0.25, -0.25])
    assert torch.equal(box_cover(inner, boxes).diagonal(), torch.ones(len(boxes)))


class Finder:
    """Finds the given boxes and remembers what it has been shown."""

    def __init__(self, *boxes):
        self.boxes = boxes
        self.seen = []

    def __call__(self, images):
        self.seen += list(images)
        return [
            Detections(torch.tensor(each).reshape(-1, 4), torch.full((len(each),), 0.75))
            for each in self.boxes[: len(images)]
        ]


@pytest.fixture(scope="module")
def people():
    config = MultiTaskConfig(
        ("nose", "left_eye", "right_eye"), ("Background", "Hair"), image_size=(64, 48),
        embed_dim=16, depth=1, num_heads=2, feedforward_dim=16, pose_channels=(8,),
        parts_channels=(8,), depth_channels=(8,), normals_channels=(8,), head_channels=8,
    )  # fmt: skip
    return MultiTaskModel(config).eval()


def test_boxes_come_from_the_caller_or_the_detector_or_the_whole_picture(people):
    images = [torch.rand(3, 40, 60), torch.rand(3, 50, 50), torch.rand(3, 30, 20)]
    finder = Finder([[1.0, 2, 20, 30], [30.0, 5, 55, 39]], [])
    vision = HumanVision([people], detector=finder)
    given_box = torch.tensor([[2.0, 2, 10, 28]])
    outputs = vision(images, [None, given_box, None])
    assert [len(output.people) for output in outputs] == [2, 1, 1]
    assert [image.dtype for image in finder.seen] == [torch.uint8] * 2
    assert [image.shape for image in finder.seen] == [(3, 40, 60), (3, 30, 20)]
    assert [person.box_score for person in outputs[0].people] == [0.75, 0.75]
    assert outputs[1].people[0].box_score == 1.0
    assert outputs[2].people[0].box_score == 0.0
    assert outputs[2].people[0].box.tolist() == [0, 0, 20, 30]
    strict = HumanVision([people], detector=Finder([]), whole_if_none=False)
    empty = strict(images[0])
    assert empty.people == ()
    assert empty.depth is None
    assert len(strict(images[0], detector=finder).people) == 2


def test_people_of_all_pictures_share_batches(people):
    images = [torch.rand(3, 40, 60) for _ in range(3)]
    boxes = [torch.tensor([[1.0, 2, 20, 30], [30.0, 5, 55, 39]])] * 3
    together = HumanVision([people], batch_size=4)(images, boxes)
    for image, box, output in zip(images, boxes, together, strict=True):
        alone = HumanVision([people], batch_size=1)(image, box)
        for first, second in zip(output.people, alone.people, strict=True):
            torch.testing.assert_close(first.keypoint_scores, second.keypoint_scores)
            assert torch.equal(first.mask, second.mask)
        torch.testing.assert_close(output.depth, alone.depth, equal_nan=True)
