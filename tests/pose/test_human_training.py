"""Training on synthetic people: it learns, resumes bit by bit, and scores what it should."""

import json
from dataclasses import replace

import pytest
import torch
from typer.testing import CliRunner

from barelens import data
from barelens.app.cli import cli
from barelens.pose import MultiTaskModel, load_multitask, save_multitask
from barelens.pose.labels import named_layout, named_parts
from barelens.pose.synthetic import KEYPOINTS, PARTS, VISIBLE
from barelens.pose.training import (
    PeopleRecipe,
    PeopleStore,
    Scores,
    Stage,
    Trainer,
    TrainingSettings,
    render_shards,
    train_human,
)
from barelens.pose.training.augment import BatchMaker, _batch, _Change

MODEL = {
    "image_size": [64, 48],
    "embed_dim": 32,
    "depth": 1,
    "num_heads": 2,
    "feedforward_dim": 64,
    "pose_channels": [16, 16],
    "parts_channels": [16, 16],
    "depth_channels": [16, 16],
    "normals_channels": [16, 16],
    "head_channels": 16,
}
PYRAMID = {
    **MODEL,
    "stem_channels": [8, 8, 16],
    "stem_blocks": [0, 1, 0, 1],
    "trunk_channels": [16, 16],
    "pose_channels": [],
    "parts_channels": [8],
    "depth_channels": [],
    "normals_channels": [],
}
SIZE, GRID = (64, 48), (16, 12)


def _settings(**changes):
    base = TrainingSettings(
        model=MODEL,
        people=PeopleRecipe(6, seed=5, size=(96, 72), lensless_share=0.0),
        validation=PeopleRecipe(3, seed=6, size=(96, 72), lensless_share=1 / 3),
        stages=(Stage(3, (32, 16), 3), Stage(3, SIZE, 3)),
        learning_rate=5e-3,
        warmup_steps=2,
        cooldown_steps=2,
        log_every=3,
        validate_every=3,
        checkpoint_every=2,
    )
    return replace(base, **changes)


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    pytest.importorskip("anny")
    path = tmp_path_factory.mktemp("people")
    for recipe in (_settings().people, _settings().validation):
        assert list(render_shards(path, recipe)) == [recipe.count]
    return path


def test_turned_and_mirrored_labels_stay_with_the_picture(folder):
    store = PeopleStore(folder, _settings().people)
    maker = BatchMaker(store, (96, 72), (48, 36), 6, seed=3)
    on_person, count = 0, 0
    for step in range(4):
        batch = maker.training(step)
        lengths = batch.normals.norm(dim=1, keepdim=True)[batch.mask]
        torch.testing.assert_close(lengths, torch.ones_like(lengths), atol=1e-3, rtol=0)
        for points, seen, parts in zip(batch.keypoints, batch.visibility, batch.parts, strict=True):
            cells = (points[seen == VISIBLE] / 2).round().long()
            cells = torch.minimum(cells, torch.tensor([35, 47]))
            near = [(parts[y - 1 : y + 2, x - 1 : x + 2] > 0).any() for x, y in cells.clamp(min=1)]
            on_person += sum(map(bool, near))
            count += len(near)
    assert on_person > 0.93 * count > 200


def test_a_mirrored_person_has_left_and_right_exchanged(folder):
    store = PeopleStore(folder, _settings().people)
    maker = BatchMaker(store, SIZE, GRID, 1, seed=0)
    plain, mirrored = (
        {name: tensor[0] for name, tensor in vars(_batch([maker._crop(store[0], change)])).items()}
        for change in (_Change(), _Change(mirror=True))
    )
    flip = list(named_layout(KEYPOINTS).flip_indices)
    back = mirrored["keypoints"][flip] * torch.tensor([-1.0, 1.0]) + torch.tensor([47.0, 0.0])
    torch.testing.assert_close(back, plain["keypoints"], atol=1e-3, rtol=0)
    parts = torch.tensor(named_parts(PARTS).flip_indices)[mirrored["parts"]].flip(1)
    assert float((parts == plain["parts"]).float().mean()) > 0.9
    both = (parts > 0) & (plain["parts"] > 0)
    normals = mirrored["normals"].flip(2) * torch.tensor([-1.0, 1.0, 1.0])[:, None, None]
    cosine = (normals * plain["normals"]).sum(dim=0)[both]
    assert float(cosine.median()) > 0.99


@pytest.mark.parametrize("model", [MODEL, PYRAMID], ids=["plain", "pyramid"])
def test_a_stopped_run_ends_with_the_same_weights_as_one_in_one_go(model, folder, tmp_path):
    settings = _settings(model=model)
    store = PeopleStore(folder, settings.people)
    straight = Trainer(settings, store)
    for _ in range(settings.steps):
        straight.advance()

    # The first half believed that the training would be longer.
    longer = replace(settings, stages=(settings.stages[0], Stage(9, SIZE, 3)))
    first = Trainer(longer, store)
    for _ in range(3):
        first.advance()
    first.save(tmp_path / "state.safetensors")
    second = Trainer(settings, store)
    second.load(tmp_path / "state.safetensors")
    assert second.step == 3
    for _ in range(3):
        second.advance()
    for one, other in ((straight.model, second.model), (straight.average, second.average)):
        for name, weight in one.state_dict().items():
            assert torch.equal(weight, other.state_dict()[name]), name
    with pytest.raises(ValueError, match="only 6 steps"):
        second.advance()


def test_a_run_starts_from_the_weights_of_an_earlier_one_that_fit(folder, tmp_path):
    first = MultiTaskModel(_settings(model=PYRAMID).config, seed=9)
    save_multitask(first, tmp_path / "first.safetensors")
    finer = {**PYRAMID, "normals_channels": [8]}
    settings = _settings(model=finer, initial_weights=str(tmp_path / "first.safetensors"))
    trainer = Trainer(settings, PeopleStore(folder, settings.people))
    before = {name: weight.clone() for name, weight in trainer.model.state_dict().items()}
    new = trainer.start_from(settings.initial_weights)
    assert set(new) == {
        "normal_head.deconv_layers.0.weight",
        "normal_head.deconv_layers.1.weight",
        "normal_head.deconv_layers.1.bias",
        "normal_head.conv_layers.0.weight",
    }
    for name, weight in trainer.model.state_dict().items():
        source = before if name in new else first.state_dict()
        assert torch.equal(weight, source[name]), name
        assert torch.equal(weight, trainer.average.state_dict()[name]), name

    train_human(settings, tmp_path / "run", people=folder)
    log = [json.loads(line) for line in (tmp_path / "run/log.jsonl").open()]
    assert log[0] == {"initial_weights": settings.initial_weights, "new": new}
    # Once under way, a run no longer needs them; one that begins says so before it renders.
    (tmp_path / "first.safetensors").unlink()
    train_human(settings, tmp_path / "run", people=folder)
    with pytest.raises(FileNotFoundError, match=r"first\.safetensors are missing"):
        train_human(settings, tmp_path / "other")
    assert not (tmp_path / "other/people").exists()


def test_weights_that_cannot_be_started_from_are_refused(folder, tmp_path):
    settings = _settings()
    trainer = Trainer(settings, PeopleStore(folder, settings.people))
    path = tmp_path / "other.safetensors"
    for changes, message in (
        ({"parts": ("Background", "Hair")}, "has other parts"),
        ({"keypoints": ("nose",)}, "has other keypoints"),
    ):
        save_multitask(MultiTaskModel(replace(settings.config, **changes)), path)
        with pytest.raises(ValueError, match=message):
            trainer.start_from(path)
    path.write_bytes(b"no")
    with pytest.raises(ValueError, match=r"other\.safetensors"):
        trainer.start_from(path)
    trainer.advance()
    with pytest.raises(ValueError, match="this is at 1"):
        trainer.start_from(path)


def test_state_of_other_settings_is_refused(folder, tmp_path):
    store = PeopleStore(folder, _settings().people)
    trainer = Trainer(_settings(), store)
    trainer.advance()
    trainer.save(tmp_path / "state.safetensors")
    for other in (
        _settings(learning_rate=1e-3),
        _settings(cooldown_steps=24),
        _settings(stages=(Stage(3, (32, 16), 2), Stage(3, SIZE, 3))),
    ):
        with pytest.raises(ValueError, match="other settings"):
            Trainer(other, store).load(tmp_path / "state.safetensors")
    (tmp_path / "broken.safetensors").write_bytes(b"no")
    with pytest.raises(ValueError, match="damaged"):
        trainer.load(tmp_path / "broken.safetensors")


@pytest.mark.parametrize("model", [MODEL, PYRAMID], ids=["plain", "pyramid"])
def test_training_lowers_the_loss_and_writes_a_model_that_loads(model, folder, tmp_path):
    settings = _settings(model=model, stages=(Stage(40, SIZE, 6),), log_every=10, validate_every=20)
    lines = []
    path = train_human(settings, tmp_path, people=folder, report=lines.append)
    steps = [line for line in lines if "loss" in line]
    assert [line["step"] for line in steps] == [10, 20, 30, 40]
    assert steps[-1]["loss"] < 0.8 * steps[0]["loss"]
    assert [json.loads(line) for line in (tmp_path / "log.jsonl").open()] == lines[
        -len(steps) - 3 :
    ]
    trained = load_multitask(path)
    assert trained.config.keypoints == KEYPOINTS and trained.config.parts == PARTS
    # All done: the same call only validates and writes the same file.
    again = load_multitask(train_human(settings, tmp_path, people=folder))
    for one, other in zip(trained.parameters(), again.parameters(), strict=True):
        assert torch.equal(one, other)


def test_steps_without_a_finite_loss_change_nothing_and_are_given_up(folder):
    trainer = Trainer(
        _settings(stages=(Stage(30, SIZE, 3),)), PeopleStore(folder, _settings().people)
    )
    with torch.no_grad():
        trainer.model.get_parameter("backbone.pos_embed")[0, 0, 0] = torch.nan
    before = {name: weight.clone() for name, weight in trainer.model.named_parameters()}
    with pytest.raises(FloatingPointError, match="lower learning_rate"):
        for _ in range(30):
            trainer.advance()
    assert trainer.step == 19
    for name, weight in trainer.model.named_parameters():
        torch.testing.assert_close(weight, before[name], rtol=0, atol=0, equal_nan=True)


def test_scores_of_the_truth_are_perfect_and_of_errors_as_large_as_they_are():
    scores = Scores(3)
    truth = torch.tensor([[10.0, 10.0], [50.0, 20.0], [30.0, 90.0], [0.0, 0.0]])
    visibility = torch.tensor([2, 2, 1, 0])
    shifted = truth + torch.tensor([[0.0, 0.0], [9.9, 0.0], [0.0, 10.1], [99.0, 0.0]])
    scores.add_keypoints(shifted, truth, visibility, 100.0)
    labels = torch.tensor([[0, 0, 1, 1]])
    scores.add_parts(torch.tensor([[0, 1, 1, 1]]), labels)
    flat = torch.tensor([0.0, 0.0, 1.0])[:, None, None].expand(3, 2, 2)
    turned = torch.tensor([0.0, 0.6, 0.8])[:, None, None].expand(3, 2, 2)
    scores.add_normals(5 * turned, flat)
    depth = torch.tensor([[1.0, 2.0], [3.0, torch.nan]])
    scores.add_depth(-4 * depth + 7, depth)
    found = scores.summary()
    assert found["pck"] == pytest.approx(2 / 3)
    assert found["pck_visible"] == 1
    assert found["miou"] == pytest.approx((1 / 2 + 2 / 3) / 2)
    assert scores.part_iou()[2].isnan()
    assert found["normals_deg"] == pytest.approx(36.87, abs=0.01)
    assert found["depth_cm"] == pytest.approx(0, abs=1e-3)


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"stages": ()}, "must hold steps"),
        ({"stages": (Stage(3, (32, 16)),)}, "model's size"),
        ({"stages": (Stage(3, (32, 24)), Stage(3, SIZE))}, "multiples of 16"),
        ({"validation": PeopleRecipe(3, seed=5)}, "different seeds"),
    ],
)
def test_wrong_settings_are_named(changes, message):
    with pytest.raises(ValueError, match=message):
        _settings(**changes)


def test_the_command_trains_and_names_what_is_wrong(folder, tmp_path):
    path = tmp_path / "train.json"
    path.write_text(json.dumps(_settings().record()))
    command = ["train", "human", "--settings", str(path), "--people", str(folder)]
    done = CliRunner().invoke(cli, [*command, "--out", str(tmp_path / "run")])
    assert done.exit_code == 0, done.output
    assert "step 6  validation: people 3" in done.output
    assert load_multitask(tmp_path / "run/model.safetensors").config == _settings().config
    path.write_text(json.dumps(_settings(learning_rate=1.0).record()))
    failed = CliRunner().invoke(cli, [*command, "--out", str(tmp_path / "run")])
    assert failed.exit_code == 1
    assert "other settings" in failed.stderr and "Traceback" not in failed.stderr


def test_people_of_other_settings_are_refused(folder):
    people = _settings().people
    with pytest.raises(ValueError, match="other settings"):
        PeopleStore(folder, replace(people, count=5))
    with pytest.raises(FileNotFoundError, match="render the people first"):
        PeopleStore(folder, replace(people, seed=99))
    with pytest.raises(IndexError, match="from 0 to 5"):
        PeopleStore(folder, people)[6]


def test_settings_survive_json_and_wrong_files_are_named(tmp_path):
    settings = _settings()
    path = tmp_path / "train.json"
    path.write_text(json.dumps(settings.record()))
    assert TrainingSettings.read(path).record() == settings.record()
    path.write_text(json.dumps({**settings.record(), "learning_speed": 1}))
    with pytest.raises(ValueError, match="learning_speed"):
        TrainingSettings.read(path)
    with pytest.raises(ValueError, match="count must be positive"):
        PeopleRecipe(0, seed=1)


def test_the_model_that_ships_is_the_one_its_settings_describe():
    first, longer = (
        TrainingSettings.read(data.path(f"human/{name}.json")) for name in ("train", "train_longer")
    )
    model = load_multitask(data.path("human/model.safetensors"))
    assert model.config == longer.config
    assert model.card["settings"] == longer.record()
    assert model.card["step"] == longer.steps
    assert first.config.parts == longer.config.parts and longer.initial_weights
    assert data.path("human/model.safetensors").stat().st_size < 13e6
