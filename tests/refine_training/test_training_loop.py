"""The loop: resumed to the bit, and what it does when something goes wrong."""

import json
import os
import signal

import pytest
import torch

from barelens.imaging.refine import Refiner, RefinerParts
from barelens.imaging.refine.pixel_space import PixelSpace
from barelens.imaging.refine.training import (
    PRESETS,
    DenoisingObjective,
    DistillationObjective,
    ModelSettings,
    Pair,
    Trainer,
    TrainingError,
    TrainingSettings,
    Validation,
    build_parts,
    export,
    sample,
)

pytest.importorskip("accelerate")
pytest.importorskip("diffusers")


class Stripes:
    """Clean stripes that have to be told from noise."""

    def __init__(self, size=16):
        self.size = size

    def __len__(self):
        return 5

    def __getitem__(self, index):
        rng = torch.Generator().manual_seed(index)
        rows = torch.arange(self.size) // (index + 2) % 2
        linear = 0.2 + 0.6 * rows[:, None].expand(3, self.size, self.size)
        noisy = linear + 0.2 * torch.randn(linear.shape, generator=rng)
        others = torch.full((5, self.size, self.size), 0.2)
        return Pair(2 * linear - 1, torch.cat([noisy, others]))


def settings(**changes):
    model = ModelSettings(
        block_out_channels=(8, 16), norm_num_groups=4, embedding_channels=(8,), patch=2
    )
    chosen = {
        "model": model,
        "steps": 4,
        "batch_size": 3,
        "crop": 8,
        "warmup": 1,
        "cooldown": 1,
        "checkpoint_every": 100,
        "validate_every": 100,
        "learning_rate": 3e-3,
        "max_bad_steps": 2,
    }
    return TrainingSettings(**(chosen | changes))


def trainer(out, chosen=None, objective=None, **options):
    chosen = chosen or settings()
    parts = build_parts(chosen)
    objective = objective or DenoisingObjective(parts, balanced=chosen.balanced)
    return Trainer(parts, objective, Stripes(), chosen, out, **options)


def state(run):
    networks = (run.parts.unet, run.parts.controlnet)
    return {
        f"{number} {name}": value.clone()
        for number, network in enumerate(networks)
        for name, value in network.state_dict().items()
    }


def logged_losses(out):
    lines = (out / "log.jsonl").read_text().splitlines()
    return [json.loads(line)["loss"] for line in lines]


def assert_same(first, second):
    assert first.keys() == second.keys()
    for name in first:
        assert torch.equal(first[name], second[name]), name


def test_a_run_in_two_parts_ends_as_one_in_one(tmp_path):
    whole = trainer(tmp_path / "whole")
    whole.run()
    trainer(tmp_path / "parts").run(until=2)
    resumed = trainer(tmp_path / "parts")
    assert resumed.step == 2
    resumed.run()
    assert_same(state(whole), state(resumed))
    with whole.averaged(), resumed.averaged():
        assert_same(state(whole), state(resumed))


def test_a_killed_run_continues_from_its_last_checkpoint(tmp_path):
    """A step that was not saved is done again, to the same end."""
    whole = trainer(tmp_path / "whole")
    whole.run()

    class Killed(BaseException):
        pass

    killed = trainer(tmp_path / "killed", settings(checkpoint_every=2))
    inner, calls = killed._objective, []

    def dying(model, batch):
        calls.append(1)
        if len(calls) == 4:
            raise Killed
        return inner(model, batch)

    killed._objective = dying
    with pytest.raises(Killed):
        killed.run()
    (tmp_path / "killed" / "checkpoints" / ".step-00000003").mkdir()  # died while writing
    resumed = trainer(tmp_path / "killed")
    assert resumed.step == 2
    resumed.run()
    assert_same(state(whole), state(resumed))


def test_a_request_to_end_is_met_after_the_step(tmp_path):
    run = trainer(tmp_path)
    inner = run._objective

    def interrupted(model, batch):
        os.kill(os.getpid(), signal.SIGTERM)
        return inner(model, batch)

    run._objective = interrupted
    assert run.run() == 1
    assert trainer(tmp_path).step == 1


def test_small_parts_give_the_gradient_of_the_whole_batch(tmp_path):
    whole, parts = trainer(tmp_path / "a"), trainer(tmp_path / "b", settings(micro_batch=1))
    for run in (whole, parts):
        run.run(until=1)
    for name, value in state(whole).items():
        torch.testing.assert_close(state(parts)[name], value, rtol=1e-3, atol=1e-4)


def test_out_of_memory_halves_what_is_done_at_once(tmp_path):
    said = []
    run = trainer(tmp_path / "a", report=said.append)
    inner = run._objective

    def hungry(model, batch):
        if len(batch) > 1:
            raise torch.OutOfMemoryError
        return inner(model, batch)

    run._objective = hungry
    run.run(until=1)
    plain = trainer(tmp_path / "b", settings(micro_batch=1))
    plain.run(until=1)
    assert_same(state(run), state(plain))
    assert "2 examples" in said[0] and "1 examples" in said[1]


def test_out_of_memory_with_one_example_says_so(tmp_path):
    run = trainer(tmp_path)

    def greedy(model, batch):
        raise torch.OutOfMemoryError

    run._objective = greedy
    with pytest.raises(TrainingError, match="smaller crop"):
        run.run()


def test_a_step_without_a_finite_loss_leaves_the_weights(tmp_path):
    run = trainer(tmp_path)
    inner, before = run._objective, state(run)
    run._objective = lambda model, batch: torch.nan * inner(model, batch)
    run.run(until=1)
    assert_same(before, state(run))
    assert run.bad_steps == 1
    run._objective = inner
    run.run(until=2)
    assert any(not torch.equal(before[name], value) for name, value in state(run).items())


def test_many_such_steps_end_the_run(tmp_path):
    run = trainer(tmp_path)
    inner = run._objective
    run._objective = lambda model, batch: torch.inf * inner(model, batch)
    with pytest.raises(TrainingError, match="3 steps in a row"):
        run.run()


def test_a_run_of_other_settings_is_not_continued(tmp_path):
    trainer(tmp_path).run(until=1)
    with pytest.raises(TrainingError, match="batch_size"):
        trainer(tmp_path, settings(batch_size=2))
    trainer(tmp_path, settings(steps=9))  # more of the same is


def test_a_damaged_checkpoint_is_named(tmp_path):
    trainer(tmp_path).run(until=1)
    (tmp_path / "checkpoints" / "step-00000001" / "optimizer.pt").write_bytes(b"gone")
    with pytest.raises(ValueError, match="step-00000001 is a damaged"):
        trainer(tmp_path)


def test_old_checkpoints_make_room(tmp_path):
    trainer(tmp_path, settings(checkpoint_every=1, keep_checkpoints=2)).run()
    names = sorted(path.name for path in (tmp_path / "checkpoints").iterdir())
    assert names == ["step-00000003", "step-00000004"]


@pytest.mark.parametrize("prediction", ["sample", "epsilon", "v_prediction"])
def test_training_lowers_the_loss(tmp_path, prediction):
    model = ModelSettings(
        block_out_channels=(8, 16),
        norm_num_groups=4,
        embedding_channels=(8,),
        patch=2,
        prediction=prediction,
    )
    chosen = settings(model=model, steps=40, warmup=5, cooldown=20, terminal_share=0.0)
    trainer(tmp_path, chosen).run()
    losses = logged_losses(tmp_path)
    assert sum(losses[-10:]) < 0.95 * sum(losses[:10])


def test_the_result_is_a_refiner(tmp_path):
    validation = Validation(Stripes(), 2, tmp_path / "validation")
    run = trainer(tmp_path, settings(validate_every=2), validate=validation)
    run.run()
    assert (tmp_path / "validation" / "00000004.png").is_file()
    with run.averaged() as parts:
        export(parts, tmp_path / "refiner", dtype=torch.float16, settings={"steps": 1})
        conditioning = Stripes()[0].conditioning[None]
        expected = sample(parts, conditioning, steps=2)
    loaded = RefinerParts.load(tmp_path / "refiner")
    assert Refiner(loaded).settings.steps == 1
    torch.testing.assert_close(
        sample(loaded, conditioning, steps=2), expected, rtol=0.02, atol=0.02
    )


def test_pixel_space_is_exact_both_ways():
    rng = torch.Generator().manual_seed(0)
    picture, linear = (torch.randn(2, 3, 8, 12, generator=rng) for _ in range(2))
    for space in (PixelSpace(), PixelSpace(4), PixelSpace(2, 0.25), PixelSpace(2, 0.25, 1.5)):
        coded = space.encode(picture, linear)
        assert coded.shape[1] == space.channels
        torch.testing.assert_close(space.decode(coded, linear), picture)


def test_low_rank_updates_are_trained_and_merged(tmp_path):
    from diffusers import UNet2DConditionModel

    pytest.importorskip("peft")
    from barelens.imaging.refine.training.build import _choose_trained
    from barelens.imaging.refine.training.model import _merged

    torch.manual_seed(0)
    unet = UNet2DConditionModel(
        block_out_channels=(8, 16),
        layers_per_block=1,
        norm_num_groups=4,
        attention_head_dim=4,
        cross_attention_dim=8,
        down_block_types=("CrossAttnDownBlock2D", "DownBlock2D"),
        up_block_types=("UpBlock2D", "CrossAttnUpBlock2D"),
    )
    before = set(unet.state_dict())
    _choose_trained(unet, "lora", 2)
    trained = {name for name, value in unet.named_parameters() if value.requires_grad}
    assert trained and all("lora" in name for name in trained)
    with torch.no_grad():
        for name, value in unet.named_parameters():
            if "lora_B" in name:
                value.fill_(0.1)
    inputs = torch.randn(1, 4, 8, 8), torch.tensor([5]), torch.randn(1, 1, 8)
    with torch.no_grad():
        expected = unet(*inputs).sample
        merged = _merged(unet)
        torch.testing.assert_close(merged(*inputs).sample, expected, rtol=1e-4, atol=1e-5)
    assert set(merged.state_dict()) == before


def test_a_student_learns_its_teachers_walk(tmp_path):
    teacher = build_parts(settings())
    torch.manual_seed(1)
    with torch.no_grad():  # a teacher that has something to say
        teacher.unet.conv_out.weight.normal_(0, 0.05)
        teacher.unet.conv_in.weight.normal_(0, 0.05)
    export(teacher, tmp_path / "teacher")
    student, frozen = (RefinerParts.load(tmp_path / "teacher") for _ in range(2))
    for network in (student.unet, student.controlnet):
        network.requires_grad_(True)
    chosen = settings(steps=40, terminal_share=0.0, cooldown=30, learning_rate=1e-3)
    objective = DistillationObjective(student, frozen, student_steps=2, teacher_steps=3)
    Trainer(student, objective, Stripes(), chosen, tmp_path / "run").run()
    losses = logged_losses(tmp_path / "run")
    assert sum(losses[-10:]) < 0.8 * sum(losses[:10])


def test_a_teacher_that_walks_in_one_step_teaches_itself(tmp_path):
    """For two teacher's steps onto a constant estimate, the student's target is that estimate."""
    parts = build_parts(settings())
    with torch.no_grad():
        parts.unet.conv_out.bias.fill_(0.3)
    export(parts, tmp_path)
    student, teacher = (RefinerParts.load(tmp_path) for _ in range(2))
    objective = DistillationObjective(student, teacher, student_steps=2, teacher_steps=3)
    from barelens.imaging.refine.training import BatchMaker, TrainingModel

    batch = BatchMaker(Stripes(), settings(terminal_share=0.0))(0)
    loss = objective(TrainingModel(student), batch)
    torch.testing.assert_close(loss, torch.zeros(3), rtol=0, atol=1e-6)


def test_settings_survive_json():
    for chosen in (*PRESETS.values(), settings()):
        record = json.loads(json.dumps(chosen.record()))
        assert TrainingSettings.from_record(record) == chosen


def test_unknown_settings_are_named():
    with pytest.raises(ValueError, match="colour"):
        TrainingSettings.from_record({"colour": 1})


def test_the_published_recipe():
    recipe = PRESETS["difuzcam"]
    assert [recipe.rate(step) for step in (0, 499, 10**5)] == pytest.approx([1e-7, 5e-5, 5e-5])
    assert recipe.model.unet == "frozen" and recipe.preview_weight == 1.0
