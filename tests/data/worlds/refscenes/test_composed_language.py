"""Statistics of the language on composed scenes, which are those of expressions about photographs."""

import numpy as np
import pytest

from vg_gym.data.worlds.refscenes.composition import Demand, compose
from vg_gym.data.worlds.refscenes.graph import graph_of
from vg_gym.data.worlds.refscenes.language import SHARES, sample_expressions
from vg_gym.data.worlds.refscenes.meaning import drop, exact, minimal
from vg_gym.data.worlds.refscenes.renderer import truth_alone
from vg_gym.language.parsing import parse

SCENES = 60
DRAWS = 6
"""Number of times that each scene is described."""


@pytest.fixture(scope="module")
def described():
    """(graph, expression) of many expressions."""
    pairs = []
    for seed in range(SCENES):
        scene = compose(np.random.default_rng([7, seed]), Demand(), 256)
        truth = truth_alone(scene)
        for draw in range(DRAWS):
            expressions = sample_expressions(scene, truth, np.random.default_rng([seed, draw]), 4)
            pairs += [(graph_of(scene, truth), expression) for expression in expressions]
    return pairs


def test_expressions_mean_exactly_their_targets(described):
    assert len(described) >= 3 * SCENES * DRAWS
    assert all(exact(expression.meaning, graph, 1 << expression.targets[0]) for graph, expression in described)


def test_kinds_have_their_shares(described):
    kinds = [expression.kind for _, expression in described]
    for kind, share in SHARES.items():
        assert abs(kinds.count(kind) / len(kinds) - share) <= 0.07, kind


def test_lengths_are_those_of_people(described):
    lengths = [len(expression.text.split()) for _, expression in described]
    assert 7 <= np.mean(lengths) <= 10
    assert 13 <= np.quantile(lengths, 0.95) <= 18 and 2 <= np.quantile(lengths, 0.05) <= 4


def test_relations_and_superlatives_are_a_part_of_them(described):
    parsed = [parse(expression.text) for _, expression in described]
    assert 0.1 <= np.mean([each.relation is not None for each in parsed]) <= 0.35
    assert 0.1 <= np.mean([bool(each.superlatives) for each in parsed]) <= 0.35


def test_a_word_less_is_ambiguous(described):
    longer = [(graph, expression.meaning) for graph, expression in described if [*drop(expression.meaning)]]
    assert np.mean([minimal(meaning, graph) for graph, meaning in longer]) >= 0.7


def test_every_thing_is_meant_as_often(described):
    """The place, distance and size of a thing do not tell that it is meant."""
    for measure in ("area", "depth", "visible"):
        ranks = []
        for graph, expression in described:
            values = getattr(graph, measure)[list(graph.targets)]
            own = getattr(graph, measure)[expression.targets[0]]
            ranks.append(np.mean(values < own) + np.mean(values == own) / 2)
        assert abs(np.mean(ranks) - 0.5) <= 0.04, measure
