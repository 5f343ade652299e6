"""Samplers: the published code's traces replayed, the two samplers against each other, noise by query."""

import pytest
import torch
from safetensors.torch import load_file

from vg_gym.diffusion.samplers import ddim_step, ddpm_step, sample, seeded_draw
from vg_gym.diffusion.schedule import Schedule

SCHEDULE = Schedule("cosine", 1000, 2.0)


@pytest.fixture(scope="module")
def traces(parity):
    return load_file(parity / "diffusion_schedule" / "ddim.safetensors")


class Script:
    """The head of a trace: checks the boxes it is shown, answers what the published run's head answered."""

    def __init__(self, tensors, case):
        self.given = {k.removeprefix(f"{case}."): v for k, v in tensors.items() if k.startswith(f"{case}.")}
        self.step, self.draws = 0, 0

    def __getitem__(self, name):
        return self.given[f"step{self.step}.{name}"]

    def denoise(self, x, t, previous):
        assert t == int(self["t"])
        torch.testing.assert_close(x.double(), self["x_t"].double(), rtol=0, atol=1e-6)
        shown = SCHEDULE.to_boxes(x) * self.given["images_whwh"]
        torch.testing.assert_close(shown.double(), self["head_input_boxes_xyxy"].double(), rtol=0, atol=1e-4)  # pixels
        x0 = SCHEDULE.to_signal(self["head_boxes_xyxy"] / self.given["images_whwh"])
        torch.testing.assert_close(x0, self["pred_x_start"], rtol=0, atol=1e-6)
        noise = SCHEDULE.noise_of(x, x0, self["t"])
        torch.testing.assert_close(noise, self["pred_noise"].double(), rtol=1e-6, atol=1e-6)
        confidence = self["head_scores"][..., 0].sigmoid()
        self.step += 1
        return x0, confidence

    def draw(self):
        """The next recorded noise; the renewing run drew fewer rows: first those kept, then those renewed."""
        self.draws += 1
        noise = self.given[f"noise{self.draws}"]
        missing = torch.zeros(1, 6 - noise.shape[1], 4)
        renewed = self.draws % 2 == 0 and missing.shape[1] > 0
        return torch.cat([missing, noise] if renewed else [noise, missing], dim=1)


@pytest.mark.parametrize(
    ("case", "eta", "renewal"), [("norenew_eta1", 1.0, 0.0), ("norenew_eta0", 0.0, 0.0), ("renew_eta1", 1.0, 0.5)]
)
def test_published_traces_are_replayed(traces, case, eta, renewal):
    script = Script(traces, case)
    times = SCHEDULE.times(4)
    trace = sample(script.denoise, script.given["noise0"], times, SCHEDULE, script.draw, "ddim", eta, renewal)
    assert script.step == 4 and script.draws == (6 if renewal else 3)
    torch.testing.assert_close(trace.signals[-1], script.given["step3.pred_x_start"], rtol=0, atol=1e-6)
    assert trace.noisy[-1].dtype == torch.float64


def test_ddpm_is_ddim_of_eta_one():
    x, x0, noise = seeded_draw([[1], [2]], 6)(), seeded_draw([[3], [4]], 6)(), seeded_draw([[5], [6]], 6)()
    for t, following in ((999, 749), (749, 499), (499, 498), (249, -1), (0, -1)):
        theirs = ddim_step(SCHEDULE, x, x0, t, following, noise, 1.0)
        torch.testing.assert_close(ddpm_step(SCHEDULE, x, x0, t, following, noise), theirs, rtol=0, atol=1e-9)


def test_a_single_ddpm_step_is_the_published_posterior():
    x, x0 = seeded_draw([[1]], 6)(), seeded_draw([[3]], 6)()
    for t in (999, 500, 1):
        mean = ddpm_step(SCHEDULE, x, x0, t, t - 1, torch.zeros_like(x))
        kept, before = SCHEDULE.tables["alphas_cumprod"][t], SCHEDULE.tables["alphas_cumprod"][t - 1]
        alpha = kept / before
        of_signal, of_noisy = before.sqrt() * (1 - alpha) / (1 - kept), alpha.sqrt() * (1 - before) / (1 - kept)
        torch.testing.assert_close(mean, of_signal * x0 + of_noisy * x)  # Ho et al. (2020), equation 7
        spread = ddpm_step(SCHEDULE, x, x0, t, t - 1, torch.ones_like(x)) - mean
        torch.testing.assert_close(spread, ((1 - before) / (1 - kept) * (1 - alpha)).sqrt().expand_as(x))


@pytest.mark.parametrize("sampler", ["ddim", "ddpm"])
def test_a_perfect_denoiser_is_followed(sampler):
    truth = SCHEDULE.to_signal(torch.tensor([0.1, 0.2, 0.5, 0.6])).double()
    seen = []

    def denoise(x, t, previous):
        seen.append((t, previous))
        return truth.expand_as(x), torch.ones(x.shape[:2])

    draw = seeded_draw([[0], [1]], 5)
    trace = sample(denoise, draw(), SCHEDULE.times(50), SCHEDULE, draw, sampler)
    assert [t for t, _ in seen] == SCHEDULE.times(50)[:-1] and seen[0][1] is None and seen[1][1] is not None
    torch.testing.assert_close(trace.noisy[-1], truth.expand(2, 5, 4), atol=0.3, rtol=0)  # time 19: little noise left
    torch.testing.assert_close(trace.signals[-1], truth.expand(2, 5, 4))


def test_renewed_boxes_forget_their_estimate():
    def denoise(x, t, previous):
        if previous is not None:
            assert (previous[:, :2] == 1).all() and (previous[:, 2:] == 0).all()
        return torch.ones_like(x), torch.tensor([[0.1, 0.9, 0.2, 0.8]])

    draw = seeded_draw([[0]], 4)
    trace = sample(denoise, draw(), SCHEDULE.times(2), SCHEDULE, draw, renewal=0.5)
    assert len(trace.signals) == 2


def test_noise_belongs_to_its_query():
    both, alone = seeded_draw([[1, 2], [3, 4]], 4), seeded_draw([[3, 4]], 4)
    for _ in range(3):
        torch.testing.assert_close(both()[1:], alone(), rtol=0, atol=0)
    more = seeded_draw([[3, 4]], 8)()
    torch.testing.assert_close(more[:, :4], seeded_draw([[3, 4]], 4)(), rtol=0, atol=0)
