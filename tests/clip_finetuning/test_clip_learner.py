import numpy as np
import pytest
import torch

from tests.conftest import TINY
from vg_gym import boxes as box_ops
from vg_gym.boxes import lattice_boxes
from vg_gym.clip_finetuning.batches import DatasetBatches, perturb
from vg_gym.clip_finetuning.clip_learner import ClipTrainConfig, ClipTrainer, schedule
from vg_gym.clip_finetuning.localization import localization_report
from vg_gym.clip_finetuning.losses import localisation, multi_positive, region_features
from vg_gym.clip_finetuning.refshapes_batches import RefShapesBatches
from vg_gym.config import load_config
from vg_gym.data.expressions import parse
from vg_gym.data.refshapes import RefShapes
from vg_gym.errors import VGGymError


def small(out, **changes):
    options = {"steps": 4, "images": 2, "validate_every": 2, "validate_samples": 4, "workers": 0, "warmup": 1}
    return ClipTrainConfig(
        out=str(out),
        model=TINY,
        crop_size=32,
        dense="tokens",
        lr=1e-3,
        dataset_options={"scenes": 40},
        **options | changes,
    )


def test_region_features_are_the_encoder_s(tiny_clip, rng):
    from vg_gym.clip.dense import box_mean, l2_normalize, summed_area

    maps = rng.normal(size=(2, 4, 4, 16)).astype(np.float32)
    low = rng.uniform(0, 0.5, (2, 6, 2))
    boxes = np.concatenate([low, low + rng.uniform(0.1, 0.5, (2, 6, 2))], -1).astype(np.float32)
    ours = region_features(torch.from_numpy(maps), torch.from_numpy(boxes)).numpy()
    np.testing.assert_allclose(ours, l2_normalize(box_mean(summed_area(maps), boxes)), atol=1e-4)


def test_losses_by_hand():
    logits = torch.tensor([[2.0, 0.0, -1.0, 9.0]])
    match = torch.tensor([[1, 1, 0, -1]])
    p = torch.tensor([2.0, 0.0, -1.0]).log_softmax(0)
    torch.testing.assert_close(multi_positive(logits, match), -(p[0] + p[1]) / 2)
    assert multi_positive(logits, torch.zeros(1, 4)) == 0
    overlap, valid = torch.tensor([[1.0, 0.5, 0.0]]), torch.tensor([[True, True, False]])
    target = torch.tensor([0.0, -5.0]).softmax(0)
    expected = -(target * torch.tensor([1.0, 2.0]).log_softmax(0)).sum()
    torch.testing.assert_close(localisation(torch.tensor([[1.0, 2.0, 7.0]]), overlap, valid, 0.1), expected)


def test_near_misses_are_boxes_of_all_overlaps(rng):
    boxes = np.tile(np.array([[0.3, 0.3, 0.6, 0.7]], np.float32), (300, 1))
    near = perturb(boxes, rng, 2)
    assert box_ops.is_valid(near, (1, 1)).all()
    overlaps = box_ops.iou(near, boxes[0])
    assert (overlaps < 0.4).mean() > 0.15 and (overlaps > 0.7).mean() > 0.1


def test_refshapes_batches_match_what_is_true():
    dataset = RefShapes("refshapes", "train", scenes=50)
    batch = RefShapesBatches(dataset, 3, 64, 32, seed=1).batch(5)
    again = RefShapesBatches(dataset, 3, 64, 32, seed=1).batch(5)
    np.testing.assert_array_equal(batch.images, again.images)
    assert batch.texts == again.texts
    rng = np.random.default_rng([1, 5])
    scenes = [dataset.record(int(i)).scene() for i in rng.integers(50, size=3)]
    for row, text in enumerate(batch.texts):
        expression, own = parse(text), batch.text_image[row]
        assert batch.match[row, own].tolist().count(1) == 1 and batch.match[row, own, batch.text_object[row]] == 1
        assert expression.referents(scenes[own]) == [batch.text_object[row]]
        for image, scene in enumerate(scenes):
            for column, item in enumerate(scene):
                if image != own:
                    fits = expression.head.fits(item)
                    known = 1 if batch.by_looks[row] else -1
                    assert batch.match[row, image, column] == (known if fits else 0)


def test_any_data_set_gives_batches():
    dataset = RefShapes("refshapes", "train", scenes=6)
    batch = DatasetBatches(dataset, 4, 64, 32, texts=3).batch(0)
    assert len(batch.texts) == 12 and batch.crops.shape[1:] == (32, 32, 3)
    assert (batch.match.max(axis=(1, 2)) == 1).all()


def test_training_resumes_to_the_same_weights(tmp_path):
    ClipTrainer(small(tmp_path / "whole")).run()
    ClipTrainer(small(tmp_path / "parts", steps=4)).run()
    state = torch.load(tmp_path / "parts" / "checkpoint.pt", weights_only=True)
    assert state["step"] == 4 and (tmp_path / "parts" / "model" / "open_clip_model.safetensors").is_file()
    whole = torch.load(tmp_path / "whole" / "checkpoint.pt", weights_only=True)
    assert all(torch.equal(whole["model"][k], state["model"][k]) for k in whole["model"])
    trainer = ClipTrainer(small(tmp_path / "parts", steps=6, resume=True))
    assert trainer.step == 4
    trainer.run()
    assert trainer.step == 6
    with pytest.raises(VGGymError, match="nothing to resume"):
        ClipTrainer(small(tmp_path / "new", resume=True))


def test_the_loss_falls(tmp_path):
    trainer = ClipTrainer(small(tmp_path, steps=40, warmup=5))
    stream = trainer._batches()
    batches = [next(stream) for _ in range(2)]
    losses = []
    for trainer.step in range(30):
        losses.append(trainer._update(batches)["total"])
    assert losses[-1] < 0.8 * losses[0]


def test_freezing_leaves_frozen_weights_alone(tmp_path):
    trainer = ClipTrainer(small(tmp_path, train_image_blocks=1, train_text_blocks=0))
    before = {k: v.clone() for k, v in trainer.model.state_dict().items()}
    trainer._update([next(trainer._batches())])
    changed = {k for k, v in trainer.model.state_dict().items() if not torch.equal(v, before[k])}
    allowed = ("visual.transformer.resblocks.1", "visual.ln_post", "visual.proj", "logit_scale")
    assert changed and all(k.startswith(allowed) for k in changed)  # fmt: skip


def test_fine_tuning_starts_from_a_model_and_saves_it(tmp_path):
    ClipTrainer(small(tmp_path / "start", steps=1)).run()
    config = small(tmp_path / "tuned", steps=1, clip=str(tmp_path / "start" / "model"))
    config.model = None
    config.crop_size = config.dense = None
    report = ClipTrainer(config).run()
    assert {"dense_r1", "crop_r1", "window_iou", "n"} == report["all"].keys()
    assert (tmp_path / "tuned" / "model" / "open_clip_config.json").is_file()


def test_the_report_of_a_perfect_localiser_is_perfect():
    class Perfect:
        grid, dim = 16, 4

        def encode_text(self, texts):
            return np.tile(np.array([[1, 0, 0, 0]], np.float32), (len(texts), 1))

        def encode_dense(self, images):
            maps = np.zeros((1, 16, 16, 4), np.float32)
            maps[..., 1] = 1
            maps[0, 4:8, 8:12] = [1, 0, 0, 0]
            # Halves cancel: only the whole object looks exactly like the text.
            maps[0, 4:8, 8:10, 2], maps[0, 4:8, 10:12, 2] = 1, -1
            maps[0, 4:6, 8:12, 3], maps[0, 6:8, 8:12, 3] = 1, -1
            return maps

    from dataclasses import replace

    from vg_gym.types import Objects

    sample = replace(RefShapes("refshapes", "val")[0], box=np.array([64, 32, 96, 64], np.float32), ann_id=2)

    class One(list):
        def objects(self, image_id):
            return Objects(np.array([[0, 0, 20, 20], [64, 32, 96, 64]], np.float32), ("a", "b"), (1, 2))

    report = localization_report(Perfect(), One([sample]), crops=False)
    assert report["all"] == {"n": 1, "dense_r1": 1.0, "window_iou": 1.0}


def test_the_lattice_holds_all_boxes():
    boxes = lattice_boxes(4, 1.0)
    assert len(boxes) == 100 and len(np.unique(boxes, axis=0)) == 100
    assert len(lattice_boxes(4, 0.5, smallest=1.0, largest=2.0)) == (7 + 6 + 5) ** 2


def test_the_schedule_rises_and_falls():
    factors = [schedule(i, 10, 100) for i in range(100)]
    assert factors[0] == 0.1 and max(factors) == 1.0 and factors[-1] < 0.01


def test_configs_name_unknown_keys(tmp_path):
    with pytest.raises(VGGymError, match="did you mean 'images'"):
        load_config(ClipTrainConfig, ["image=3"])
    with pytest.raises(VGGymError, match="steps"):
        load_config(ClipTrainConfig, ["steps=many"])
