"""Box diffusion as a grounder: it learns, reproduces itself, refines, is guided, and survives its folder."""

import copy
from dataclasses import replace

import numpy as np
import pytest
import torch

from vg_gym import boxes as box_ops
from vg_gym import registry
from vg_gym.diffusion.model import content_key
from vg_gym.errors import VGGymError
from vg_gym.learned.grounder import LearnedGrounder, query_batch
from vg_gym.learned.model import build
from vg_gym.learned.weights import save_model

SMALL = {"dim": 32, "heads": 2, "feedforward": 32, "layers": 1, "channels": 8, "stem": 4, "roi": 3, "train_boxes": 3}


def made(**options):
    torch.manual_seed(0)
    return build("diffusion", {**SMALL, **options}).eval()


def shaken(model):
    """With weights where there were zeros, so that every input matters from the beginning."""
    with torch.no_grad():
        for parameter in model.parameters():
            parameter.add_(0.05 * torch.randn_like(parameter))
    return model


def sampled(model, queries, initial_boxes=None, **sampling):
    """Boxes (N, 4) in pixels of a copy of the model that samples otherwise."""
    other = copy.deepcopy(model)
    other.options = replace(other.options, sampling=replace(other.options.sampling, **sampling))
    other.options.sampling.check()
    return np.stack([p.box for p in LearnedGrounder("diffusion", other).ground(queries, initial_boxes)])


def training_batch(model, samples):
    truth = [box_ops.normalize(s.box, s.query.image.size) for s in samples]
    return replace(query_batch(model, [s.query for s in samples]), boxes=torch.from_numpy(np.stack(truth)))


def learn(model, samples, steps, lr):
    batch = training_batch(model, samples)
    batch = replace(batch, features=model.frozen_image_features(batch.images))
    model.train()
    optimizer = torch.optim.AdamW(model.parameters(), lr=lr)
    schedule = torch.optim.lr_scheduler.OneCycleLR(optimizer, lr, total_steps=steps)
    torch.manual_seed(0)
    for _ in range(steps):
        optimizer.zero_grad()
        sum(model.losses(batch).values()).backward()
        torch.nn.utils.clip_grad_norm_(model.parameters(), 1.0)
        optimizer.step()
        schedule.step()
    return model.eval()


@pytest.fixture(scope="module")
def learnt(shapes):
    """A RoI denoiser that knows eight samples by heart."""
    torch.set_num_threads(1)
    model = made(dim=64, feedforward=128, channels=16, roi=5, drop=0.1)
    return learn(model, [shapes[i] for i in range(8)], 300, 3e-3)


@pytest.fixture
def truth(shapes):
    return np.stack([s.box for s in shapes])


def test_eight_samples_are_learnt_by_heart(learnt, blind, truth):
    assert box_ops.iou(sampled(learnt, blind), truth).mean() > 0.9
    assert box_ops.iou(sampled(learnt, blind, steps=1), truth).mean() > 0.8
    assert box_ops.iou(sampled(learnt, blind, sampler="ddpm", steps=10), truth).mean() > 0.9


@pytest.mark.parametrize("target", ["x0", *(pytest.param(name, marks=pytest.mark.slow) for name in ("epsilon", "v"))])
def test_four_numbers_are_learnt_by_heart(target, shapes, blind, truth):
    sizes = {"dim": 64, "feedforward": 128, "layers": 3, "train_boxes": 8}
    model = learn(made(shape="vector", target=target, **sizes), [shapes[i] for i in range(8)], 700, 3e-3)
    found = box_ops.iou(sampled(model, blind, steps=20, boxes=16), truth).mean()
    assert found > 0.8, found


def test_confidence_is_about_the_iou_of_the_box(learnt, blind, truth):
    for prediction, answer in zip(LearnedGrounder("diffusion", learnt).ground(blind), truth, strict=True):
        proposals, sure = prediction.details["proposals"], prediction.details["confidences"]
        assert proposals.shape == (8, 4) and sure.shape == (8,) and 0 <= prediction.score <= 1
        assert np.abs(box_ops.iou(proposals, answer) - sure).mean() < 0.25


def test_given_boxes_are_refined(learnt, blind, truth, rng):
    given = box_ops.fit_inside(truth + rng.normal(0, 6, truth.shape).astype(np.float32), (128, 128), 4.0)
    found = sampled(learnt, blind, given, refine_from=0.2, near=1.0, steps=2)
    assert box_ops.iou(found, truth).mean() > box_ops.iou(given, truth).mean() + 0.1
    wrong = np.roll(truth, 4, axis=0)  # the other image's
    assert box_ops.iou(sampled(learnt, blind, wrong), truth).mean() > 0.7


def test_initial_boxes_matter(blind, truth):
    model = made()
    plain, near = sampled(model, blind), sampled(model, blind, truth)
    assert not np.array_equal(plain, near)
    assert not np.array_equal(near, sampled(model, blind, np.roll(truth, 1, axis=0)))


@pytest.mark.parametrize("shape", ["roi", "vector"])
def test_one_seed_is_one_answer_bit_for_bit(shape, blind):
    model = made(shape=shape)
    whole = sampled(model, blind)
    np.testing.assert_array_equal(sampled(model, blind), whole)
    for row in (0, 5):
        np.testing.assert_array_equal(sampled(model, [blind[row]]), whole[row : row + 1])
    np.testing.assert_array_equal(sampled(model, blind[::-1])[::-1], whole)
    assert not np.array_equal(sampled(model, blind, seed=1), whole)


@pytest.mark.parametrize("shape", ["roi", "vector"])
def test_guidance(shape, blind):
    """Estimates lie on a line: without the expression, with it, beyond; without it, expressions are all the same."""
    model = shaken(made(shape=shape))
    batch = query_batch(model, blind)
    signals = {}
    for guidance in (0.0, 0.5, 1.0, 3.0):
        model.options.sampling.guidance = guidance
        with torch.no_grad():
            images, texts = model.encode_image(batch.images), model.clip.encode_text(batch.tokens)
            denoise = model._denoise(images, batch.image_of, texts)
            signals[guidance], confidence = denoise(torch.zeros(8, 2, 4, dtype=torch.float64), 500, None)
        assert confidence.shape == (8, 2)
    unconditional, conditional = signals[0.0], signals[1.0]
    torch.testing.assert_close(unconditional[:4], unconditional[:1].expand(4, -1, -1), rtol=0, atol=1e-4)  # one image
    assert (conditional - unconditional).abs().max() > 0.01
    for guidance in (0.5, 3.0):
        expected = unconditional + guidance * (conditional - unconditional)
        torch.testing.assert_close(signals[guidance], expected, rtol=0, atol=1e-4)


def test_self_conditioning_is_used_where_it_was_trained(blind):
    model, without = shaken(made()), shaken(made(self_condition=0.0))
    assert not np.array_equal(sampled(without, blind), sampled(model, blind))
    first = sampled(model, blind, steps=1)  # there is nothing to show yet
    np.testing.assert_array_equal(sampled(without, blind, steps=1), first)


def test_both_kinds_of_training_step(shapes):
    batch = training_batch(made(), [shapes[i] for i in range(8)])
    for share in (0.0, 1.0):
        model = made(self_condition=share, drop=share).train()
        losses = model.losses(batch)
        assert set(losses) == {f"{k}/{stage}" for k in ("l1", "giou", "confidence") for stage in (0, 1)}
        sum(losses.values()).backward()
        assert all(p.grad is None or p.grad.isfinite().all() for p in model.parameters())
        learnt = model.denoiser.trunk.word.weight.grad
        assert (learnt is None or not learnt.any()) == bool(share)  # all expressions withheld: none is learnt from
        assert model.denoiser.trunk.nothing.grad.any() == bool(share)


@pytest.mark.parametrize(
    "sampling",
    [
        {"choose": "clip"},
        {"choose": "both", "ensemble": "none"},
        {"ensemble": "all"},
        {"renewal": 0.5},
        {"eta": 0.0},
        {"boxes": 1},
        {"sampler": "ddpm", "steps": 3},
        {"guidance": 1.5, "renewal": 0.9, "steps": 6},
    ],
)
def test_every_way_of_sampling_gives_boxes(sampling, blind, truth):
    model = made()
    for initial_boxes in (None, truth):
        found = sampled(model, blind, initial_boxes, **sampling)
        assert box_ops.is_valid(found, (128, 128)).all()


def test_the_clip_is_not_saved_again(tmp_path, blind):
    model = made()
    assert not any(key.startswith("clip") for key in model.state_dict())
    save_model("diffusion", model, tmp_path / "model")
    assert (tmp_path / "model" / "model.safetensors").stat().st_size < 200_000
    again = registry.grounder("diffusion", weights=str(tmp_path / "model"))
    mine, theirs = (sampled(m, blind, boxes=1, steps=1) for m in (model, again.model))
    np.testing.assert_allclose(theirs, mine, atol=0.5)  # kept in half precision
    assert again.fingerprint != registry.grounder("diffusion", weights=str(tmp_path / "model"), steps=2).fingerprint


def test_sampling_is_chosen_at_every_use(tmp_path):
    save_model("diffusion", made(sampling={"boxes": 3}), tmp_path / "model")
    folder = str(tmp_path / "model")
    few = registry.grounder("diffusion", weights=folder, steps=2)
    assert few.model.options.sampling.steps == 2 and few.model.options.sampling.boxes == 3
    slow = registry.grounder("diffusion-ddpm", weights=folder)
    assert slow.name == "diffusion-ddpm" and slow.model.options.sampling.sampler == "ddpm"
    assert registry.grounder("diffusion-vector", weights=folder).name == "diffusion-vector"
    for options, message in (
        ({"stepz": 2}, "did you mean 'steps'"),
        ({"steps": "many"}, "option diffusion.steps is 'many'; it must be a whole number"),
        ({"steps": 0}, "at least 1"),
        ({"eta": 2.0}, "between 0 and 1"),
        ({"near": -0.5}, "between 0 and 1"),
        ({"sampler": "ddimm"}, "did you mean 'ddim'"),
        ({"ensemble": "mean"}, "unknown ensemble 'mean'"),
        ({"choose": "confidnce"}, "did you mean 'confidence'"),
    ):
        with pytest.raises(VGGymError, match=message):
            registry.grounder("diffusion", weights=folder, **options)
    with pytest.raises(VGGymError, match="no trained diffusion"):
        registry.grounder("diffusion", weights=str(tmp_path / "none"))


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"shape": "roi", "target": "epsilon"}, "needs shape=vector"),
        ({"shape": "rio"}, "did you mean 'roi'"),
        ({"schedule": "cosin"}, "did you mean 'cosine'"),
        ({"sampling": {"stepz": 2}}, "sampling.stepz"),
        ({"dim": 30}, "multiple of"),
        ({"clip": "no-such"}, "clip 'no-such'"),
        ({"boxes": 3}, "unknown option 'boxes'"),
    ],
)
def test_mistakes_are_named(options, message):
    with pytest.raises(VGGymError, match=message):
        made(**options)


def test_content_keys():
    a = torch.arange(12.0).view(3, 4)
    assert content_key(a) == content_key(a.clone()) != content_key(a + 1)
    assert content_key(a.T) == content_key(a.T.contiguous())
