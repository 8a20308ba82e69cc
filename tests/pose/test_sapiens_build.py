"""State dicts tell their own models: every kind of head and backbone at toy size."""

import itertools
import math

import pytest
import torch
from torch import nn

from barelens.imaging.shapes import ShapeError
from barelens.pose import from_state_dict
from barelens.pose.sapiens import (
    BACKBONES,
    BACKBONES_V2,
    DeconvHead,
    HumanModel,
    Pointmap,
    PointmapHead,
    RopeVisionTransformer,
    RopeViTConfig,
    ShuffleHead,
    VisionTransformer,
    ViTConfig,
    canonical_task,
    resize_position_embedding,
)
from barelens.pose.sapiens.rope_vit import Tokenizer
from barelens.pose.sapiens.vit import fit_position_embedding

SIZE = (64, 48)
V1 = ViTConfig(32, 2, 4, 48, image_size=SIZE)
V2 = RopeViTConfig(32, 4, 24, (4, 2, 4), image_size=SIZE)


def randomise(module, seed=0):
    generator = torch.Generator().manual_seed(seed)
    for parameter in module.parameters():
        spread = 1 / math.sqrt(max(parameter[0].numel(), 1)) if parameter.ndim > 1 else 0.1
        values = torch.randn(parameter.shape, generator=generator) * spread
        # Gains stay near 1 so that nothing fades through the layers.
        parameter.data = values + 1 if parameter.ndim == 1 and parameter.min() > 0 else values
    return module.eval()


def pixels(size=SIZE, batch=2, seed=1):
    return torch.randn(batch, 3, *size, generator=torch.Generator().manual_seed(seed))


def v1_head(task, outputs):
    if task == "pose":
        return DeconvHead(32, (24, 24), (24, 16), outputs, final="final_layer")
    count = 4 if task == "depth" else 3
    convs = (20, 20) if task == "depth" else (16, 20, 16)
    return DeconvHead(32, (16,) * count, convs, outputs, final="conv_seg")


V2_HEADS = {
    "pose": lambda: DeconvHead(32, (24, 16), (16, 12, 8), 308, final="conv_pose"),
    "segmentation": lambda: DeconvHead(32, (24, 16, 12, 8), (8, 8), 29, final="conv_seg"),
    "normal": lambda: ShuffleHead(32, (24, 16, 12, 8), (8, 6, 4), 3, final="conv_normal"),
    "albedo": lambda: ShuffleHead(
        32, (24, 16, 12, 8), (8, 6, 4), 3, final="conv_albedo", norm="rms"
    ),
    "matting": lambda: ShuffleHead(32, (16, 8), (8, 6), 4, final="conv_matting", sigmoid=True),
}


@pytest.mark.parametrize(
    ("task", "outputs", "padding"),
    [
        ("pose", 308, 2),
        ("pose", 133, 2),
        ("pose", 17, 2),
        ("segmentation", 28, "corner"),
        ("segmentation", 20, 2),
        ("segmentation", 19, "corner"),
        ("depth", 1, "corner"),
        ("normal", 3, 2),
    ],
)
@torch.no_grad()
def test_first_generation_heads_come_back_from_their_tensors(task, outputs, padding):
    attribute = "head" if task == "pose" else "decode_head"
    config = ViTConfig(32, 2, 4, 48, image_size=SIZE, patch_padding=padding)
    model = HumanModel(
        VisionTransformer(config), {task: v1_head(task, outputs)}, attributes={task: attribute}
    )
    randomise(model)
    again = from_state_dict(model.state_dict(), task=task, config={"num_heads": 4})
    assert again.tasks == (task,)
    assert again.family == "sapiens"
    assert again.backbone.config == config
    assert set(again.state_dict()) == set(model.state_dict())
    assert torch.equal(again(pixels()), model(pixels()))
    scale = {"pose": 4, "depth": 16}.get(task, 8)
    assert again(pixels()).shape == (2, outputs, 4 * scale, 3 * scale)


@pytest.mark.parametrize("task", V2_HEADS)
@torch.no_grad()
def test_second_generation_heads_come_back_from_their_tensors(task):
    model = HumanModel(
        RopeVisionTransformer(V2), {task: V2_HEADS[task]()}, attributes={task: "decode_head"}
    )
    randomise(model)
    again = from_state_dict(model.state_dict(), config={"img_size": SIZE})
    assert again.tasks == (task,)
    assert again.family == "sapiens2"
    assert again.backbone.config == V2
    assert torch.equal(again(pixels()), model(pixels()))


@pytest.mark.parametrize("axes", [(-1, 1, 1), (1, -1, 1, 1)])
@torch.no_grad()
def test_gains_of_norms_may_be_stored_with_axes_to_broadcast(axes):
    model = HumanModel(
        RopeVisionTransformer(V2), {"albedo": V2_HEADS["albedo"]()},
        attributes={"albedo": "decode_head"},
    )  # fmt: skip
    randomise(model)
    state = {
        name: tensor.reshape(axes) if name.startswith("decode_head") and "bias" not in name
        and tensor.ndim == 1 else tensor
        for name, tensor in model.state_dict().items()
    }  # fmt: skip
    assert any(tensor.ndim == len(axes) and tensor.numel() == 24 for tensor in state.values())
    again = from_state_dict(state, config={"img_size": SIZE})
    assert torch.equal(again(pixels()), model(pixels()))


@torch.no_grad()
def test_pointmap_gives_points_and_their_scale_at_its_own_size():
    size = (128, 96)
    head = PointmapHead(
        32, (16, 8), (8, 6), 3, scale_conv=(16, 8), scale_hidden=(12, 6), scale_inputs=8 * 2 * 2
    )
    model = HumanModel(
        RopeVisionTransformer(V2), {"pointmap": head}, attributes={"pointmap": "decode_head"}
    )
    randomise(model)
    again = from_state_dict(model.state_dict(), "sapiens2", "pointmap", {"img_size": size})
    found = again(pixels(size))
    assert isinstance(found, Pointmap)
    assert found.pointmap.shape == (2, 3, 32, 24)
    assert found.scale.shape == (2, 1)
    assert all(map(torch.equal, found, model(pixels(size))))
    with pytest.raises(ValueError, match="one picture size only"):
        again(pixels((256, 192)))


@pytest.mark.parametrize("class_position", [False, True])
@torch.no_grad()
def test_tokenizer_comes_back_and_looks_at_each_window_alone(class_position):
    config = RopeViTConfig(
        32,
        4,
        24,
        (4, 2),
        image_size=(128, 192),
        tokenizer_depth=2,
        tokenizer_class_position=class_position,
    )
    backbone = randomise(RopeVisionTransformer(config))
    again = from_state_dict(backbone.state_dict(), "sapiens2", config={"img_size": (128, 192)})
    assert again.config == config
    image = pixels((128, 192))
    assert again(image).shape == (2, 32, 2, 3)
    assert torch.equal(again(image), backbone(image))
    tokenizer = backbone.tokenizer
    assert isinstance(tokenizer, Tokenizer)
    patches = backbone.patch_embed(image)
    together = tokenizer(patches)
    for row, column in itertools.product(range(2), range(3)):
        window = patches[:, :, 4 * row : 4 * row + 4, 4 * column : 4 * column + 4]
        torch.testing.assert_close(
            tokenizer(window)[:, :, 0, 0], together[:, :, row, column], rtol=1e-4, atol=1e-5
        )
    with pytest.raises(ValueError, match="multiples of 4"):
        backbone(pixels((64, 96)))


@torch.no_grad()
def test_an_encoder_keeps_its_class_token_at_its_own_size_only():
    config = ViTConfig(32, 2, 4, 48, image_size=(64, 64), class_token=True)
    encoder = randomise(VisionTransformer(config))
    state = encoder.state_dict()
    assert not any(name.startswith("backbone.") for name in state)
    same = from_state_dict(state, "sapiens", "pretrain", {"num_heads": 4, "img_size": [64, 64]})
    assert torch.equal(same(pixels((64, 64))), encoder(pixels((64, 64))))
    begun = from_state_dict(state, "sapiens", config={"num_heads": 4, "img_size": SIZE})
    assert not begun.config.class_token
    wanted = resize_position_embedding(state["pos_embed"][:, 1:], (4, 4), (4, 3))
    assert torch.equal(begun.pos_embed, wanted)
    kept = from_state_dict(state, config={"num_heads": 4, "img_size": SIZE, "with_cls_token": True})
    assert torch.equal(kept.pos_embed[:, :1], state["pos_embed"][:, :1])
    assert torch.equal(kept.pos_embed[:, 1:], wanted)


@pytest.mark.parametrize("target", [(16, 12), (5, 7), (8, 11)])
def test_position_embeddings_resize_as_opencv_does(target):
    import cv2

    embedding = torch.rand(1, 49, 3, generator=torch.Generator().manual_seed(0))
    resized = resize_position_embedding(embedding, (8, 6), target, prefix=1)
    assert torch.equal(resized[:, :1], embedding[:, :1])
    grid = embedding[0, 1:].reshape(8, 6, 3).numpy()
    wanted = cv2.resize(grid, target[::-1], interpolation=cv2.INTER_CUBIC)
    torch.testing.assert_close(
        resized[0, 1:].reshape(*target, 3), torch.from_numpy(wanted), rtol=0, atol=1e-5
    )


def test_position_embeddings_of_half_precision_resize_in_float32():
    embedding = torch.rand(1, 48, 3, generator=torch.Generator().manual_seed(0)).bfloat16()
    half = resize_position_embedding(embedding, (8, 6), (16, 12))
    whole = resize_position_embedding(embedding.float(), (8, 6), (16, 12))
    assert torch.equal(half, whole.bfloat16())
    assert resize_position_embedding(embedding, (8, 6), (8, 6)) is embedding


@pytest.mark.parametrize(
    ("tokens", "target", "class_token"),
    [(49, (7, 7), False), (50, (7, 7), True), (17, (8, 6), False), (48, (4, 4), False)],
)
def test_stored_grids_are_recognised(tokens, target, class_token):
    fitted = fit_position_embedding(torch.rand(1, tokens, 4), target, class_token=class_token)
    assert fitted.shape == (1, target[0] * target[1] + class_token, 4)


def test_grids_of_no_known_shape_are_refused():
    with pytest.raises(ShapeError, match="neither a square nor a 4:3"):
        fit_position_embedding(torch.rand(1, 22, 4), (4, 4), class_token=False)


def test_an_encoder_without_head_takes_the_padding_of_the_task():
    state = VisionTransformer(V1).state_dict()
    for task, padding in (("pose", 2), ("depth", "corner"), ("pretrain", "corner")):
        encoder = from_state_dict(state, task=task, config={"num_heads": 4})
        assert isinstance(encoder, VisionTransformer)
        assert encoder.config.patch_padding == padding


@torch.no_grad()
def test_one_backbone_serves_several_heads():
    heads = {"pose": v1_head("pose", 17), "depth": v1_head("depth", 1)}
    model = randomise(HumanModel(VisionTransformer(V1), heads))
    found = model(pixels())
    assert set(found) == {"pose", "depth"}
    again = from_state_dict(model.state_dict(), config={"num_heads": 4, "image_size": SIZE})
    assert again.family == "barelens"
    assert again.backbone.config == V1
    assert all(torch.equal(again(pixels())[task], found[task]) for task in found)
    features = model.features(pixels())
    assert torch.equal(model.read(features, ["depth"])["depth"], found["depth"])
    with pytest.raises(ValueError, match="no head for 'normal'"):
        model.read(features, ["normal"])


@pytest.mark.parametrize("prefix", ["module.", "_orig_mod."])
def test_prefixes_of_wrappers_are_taken_off(prefix):
    model = HumanModel(
        VisionTransformer(V1), {"pose": v1_head("pose", 17)}, attributes={"pose": "head"}
    )
    state = {prefix + name: tensor for name, tensor in model.state_dict().items()}
    state[prefix + "data_preprocessor.mean"] = torch.zeros(3)
    again = from_state_dict(state, config={"num_heads": 4})
    assert set(again.state_dict()) == set(model.state_dict())


def test_what_does_not_fit_is_refused():
    state = HumanModel(
        VisionTransformer(V1), {"pose": v1_head("pose", 17)}, attributes={"pose": "head"}
    ).state_dict()
    config = {"num_heads": 4}
    with pytest.raises(RuntimeError, match="ln2"):
        broken = {name: t for name, t in state.items() if name != "backbone.layers.1.ln2.bias"}
        from_state_dict(broken, config=config)
    with pytest.raises(RuntimeError, match="extra"):
        from_state_dict(state | {"backbone.extra": torch.zeros(1)}, config=config)
    with pytest.raises(ValueError, match="family"):
        from_state_dict(state, "sapiens2", config=config)
    with pytest.raises(ValueError, match="head for pose"):
        from_state_dict(state, task="depth", config=config)
    with pytest.raises(ValueError, match="num_heads"):
        from_state_dict(state)
    with pytest.raises(ValueError, match="multiple of num_heads"):
        from_state_dict(state, config={"num_heads": 5})
    with pytest.raises(ValueError, match="rope_dtype"):
        state = RopeVisionTransformer(V2).state_dict()
        from_state_dict(state, config={"rope_dtype": "fp16"})
    with pytest.raises(ValueError, match="no Sapiens backbone"):
        from_state_dict(nn.Linear(2, 2).state_dict())
    with pytest.raises(ValueError, match="state dict"):
        from_state_dict({"epoch": 3})


@pytest.mark.parametrize(
    ("name", "task"),
    [
        ("seg28", "segmentation"),
        ("Face-Seg", "segmentation"),
        ("pose_133", "pose"),
        ("keypoints308", "pose"),
        ("normals", "normal"),
        ("pretrain", None),
    ],
)
def test_tasks_have_many_spellings(name, task):
    assert canonical_task(name) == task


def test_unknown_tasks_name_the_known_ones():
    with pytest.raises(ValueError, match="pose, segmentation, depth"):
        canonical_task("hands")


@pytest.mark.parametrize(
    ("table", "name", "billions"),
    [
        # Published counts; those of the first generation include a pose head of 0.03.
        (BACKBONES, "0.3b", 0.336),
        (BACKBONES, "0.6b", 0.664),
        (BACKBONES, "1b", 1.169),
        (BACKBONES, "2b", 2.163),
        (BACKBONES_V2, "0.1b", 0.114),
        (BACKBONES_V2, "0.4b", 0.398),
        (BACKBONES_V2, "0.8b", 0.818),
        (BACKBONES_V2, "1b", 1.462),
        (BACKBONES_V2, "1b-4k", 1.607),
        (BACKBONES_V2, "5b", 5.071),
    ],
)
def test_published_sizes_have_the_published_number_of_parameters(table, name, billions):
    with torch.device("meta"):
        make = VisionTransformer if table is BACKBONES else RopeVisionTransformer
        count = sum(parameter.numel() for parameter in make(table[name]).parameters())
    if table is BACKBONES:
        billions -= 0.030
    assert count / 1e9 == pytest.approx(billions, rel=0.008)
