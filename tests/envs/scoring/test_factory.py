"""One protocol for all scorers: a new one needs its class and a line of the table."""

import numpy as np
import pytest

from vg_gym.envs import GroundingTensorEnv, GroundingVectorEnv
from vg_gym.envs.scoring.factory import SCORERS
from vg_gym.envs.scoring.protocol import Scorer
from vg_gym.errors import VGGymError


class LetterCounts:
    """Once per query: the number of letters of its expression."""

    count, fingerprint = 1, "letters"

    def __call__(self, query):
        return np.array([len(query.expression)], np.float32)

    def prepare(self, queries, progress=False):
        pass


class LetterScorer(Scorer):
    """The width of the box, plus what the bank knows of the query."""

    @classmethod
    def query_scores(cls, options, clip):
        return LetterCounts()

    def score(self, boxes, playing):
        return playing.text, boxes[:, 2] - boxes[:, 0] + self.bank.scores.like(boxes)[playing.rows, 0]


def test_a_scorer_of_one_s_own(shapes, tiny_clip, monkeypatch):
    monkeypatch.setitem(SCORERS, "letters", LetterScorer)
    env = GroundingVectorEnv(3, dataset=shapes, clip=tiny_clip, scoring="letters", initial_box="center")
    seen, infos = env.reset(seed=0)
    letters = [len(query.expression) for query in env.engine.queries]
    np.testing.assert_allclose(infos["clip_score"], np.array(letters) + 0.5)
    np.testing.assert_array_equal(seen["region"], seen["text"])


@pytest.mark.parametrize("scoring", SCORERS)
def test_every_scorer_measures_arrays_and_tensors_alike(scoring, shapes, tiny_clip):
    options = {"dataset": shapes, "clip": tiny_clip, "scoring": scoring, "score": "contrast", "lattice": 3}
    arrays = GroundingVectorEnv(4, initial_box="random", **options)
    tensors = GroundingTensorEnv(4, initial_box="random", **options)
    seen, infos = arrays.reset(seed=3)
    same = tensors.reset(seed=3)
    assert np.abs(infos["clip_score"]).max() <= 2
    for name in ("region", "score"):
        np.testing.assert_allclose(same[name].numpy(), seen[name], atol=1e-5)
    np.testing.assert_allclose(np.linalg.norm(seen["region"], axis=1), 1, atol=1e-5)


def test_unknown_names_are_named(shapes, tiny_clip):
    with pytest.raises(VGGymError, match="did you mean 'lattice'"):
        GroundingVectorEnv(1, dataset=shapes, clip=tiny_clip, scoring="latice")
    for scoring in SCORERS:
        with pytest.raises(VGGymError, match="unknown score 'cosin'"):
            GroundingVectorEnv(1, dataset=shapes, clip=tiny_clip, scoring=scoring, score="cosin")
