"""Sampled expressions: each means its targets, reads as English and keeps its splits apart."""

import re
from collections import Counter

import numpy as np
import pytest

from tests.data.worlds.refscenes.made import made_scene
from vg_gym.data.worlds.refscenes.graph import graph_of
from vg_gym.data.worlds.refscenes.kinds import KINDS, VARIANTS, is_held_out, plural
from vg_gym.data.worlds.refscenes.language import MANY, NONE, NONE_OF_MANY, ONE, SINGLE, sample_expressions
from vg_gym.data.worlds.refscenes.meaning import Color, drop, exact, minimal
from vg_gym.data.worlds.refscenes.typos import typo

SCENES = 150


@pytest.fixture(scope="module")
def scenes():
    return [made_scene(seed) for seed in range(SCENES)]


def sampled(scenes, kinds=SINGLE, count=4, **known):
    return [sample_expressions(*pair, np.random.default_rng(i), count, kinds, **known) for i, pair in enumerate(scenes)]


@pytest.fixture(scope="module")
def single(scenes):
    return sampled(scenes)


@pytest.fixture(scope="module")
def mixed(scenes):
    samples = [sampled(scenes, count=1, meant=meant) for meant in (ONE, MANY, NONE, NONE_OF_MANY)]
    return [
        [expression for expressions in of_scene for expression in expressions]
        for of_scene in zip(*samples, strict=True)
    ]


def texts(samples):
    return [expression.text for expressions in samples for expression in expressions]


@pytest.mark.parametrize("kind", SINGLE)
def test_every_kind_means_exactly_its_target(scenes, kind):
    samples = sampled(scenes, (kind,), 2)
    for (scene, truth), expressions in zip(scenes, samples, strict=True):
        graph = graph_of(scene, truth)
        for expression in expressions:
            assert expression.kind == kind and len(expression.targets) == 1
            assert exact(expression.meaning, graph, 1 << expression.targets[0]), expression.text
            assert expression.referents(graph) == expression.targets
            assert truth.visible[expression.targets[0]] >= 0.4
    assert sum(map(len, samples)) >= 25
    openings = {re.sub(r"^(the|an?) ", "", text).split()[0] for text in texts(samples)}
    assert len(openings) >= 6


def test_nothing_means_nothing_and_many_mean_several(scenes, mixed):
    for (scene, truth), expressions in zip(scenes, mixed, strict=True):
        graph = graph_of(scene, truth)
        for expression in expressions:
            if expression.kind == "none":
                assert expression.targets == () and expression.meaning.fit(graph).possible == 0, expression.text
            elif expression.kind == "many":
                mask = sum(1 << i for i in expression.targets)
                assert 2 <= len(expression.targets) <= 4 and exact(expression.meaning, graph, mask), expression.text


def test_all_kinds_occur(mixed):
    counts = Counter(expression.kind for expressions in mixed for expression in expressions)
    assert set(counts) == {*SINGLE, "many", "none"}
    assert counts["many"] >= SCENES / 3 and counts["none"] >= SCENES


@pytest.mark.parametrize("meant", [ONE, MANY, NONE, NONE_OF_MANY])
def test_the_same_seed_says_the_same(scenes, meant):
    assert texts(sampled(scenes[:20], meant=meant)) == texts(sampled(scenes[:20], meant=meant))


def test_no_expression_is_said_twice_of_a_scene(single):
    assert all(len({e.text for e in expressions}) == len(expressions) for expressions in single)


def test_most_say_no_word_too_many(scenes, single):
    longer = [
        (expression, graph_of(*pair)) for pair, expressions in zip(scenes, single, strict=True)
        for expression in expressions if next(drop(expression.meaning), None)
    ]  # fmt: skip
    assert np.mean([minimal(expression.meaning, graph) for expression, graph in longer]) >= 0.7


def test_length_and_vocabulary(single):
    lengths = [len(text.split()) for text in texts(single)]
    assert 6.5 <= np.mean(lengths) <= 10 and 13 <= np.quantile(lengths, 0.95) <= 20
    assert len({word for text in texts(single) for word in text.split()}) >= 250


def held_out_nouns():
    nouns = [kind.held_out for kind in KINDS.values()] + [names[-1] for names in VARIANTS.values()]
    return {*nouns, *map(plural, nouns)}


def nouns_in(text, nouns):
    return [noun for noun in nouns if re.search(rf"\b{re.escape(noun)}\b", text)]


def test_held_out_nouns_are_said_only_where_asked(scenes, mixed):
    for text in texts(mixed):
        assert not nouns_in(text, held_out_nouns()), text
    new = [text for text in texts(sampled(scenes, new_words=True)) if "animal" not in text and "vehicle" not in text]
    assert np.mean([bool(nouns_in(text, held_out_nouns())) for text in new]) > 0.9


def test_held_out_pairs_are_never_said_of_what_is_not_there(scenes):
    for expressions in sampled(scenes[:60], meant=NONE):
        for expression in expressions:
            for test in expression.meaning.tests:
                if isinstance(test, Color) and test.part == "main" and expression.meaning.sort.name in KINDS:
                    assert not is_held_out(expression.meaning.sort.name, test.color), expression.text


def test_texts_are_english_noun_phrases(mixed):
    for text in texts(mixed):
        assert re.fullmatch(r"[a-z0-9]+('[a-z]+)?([ -][a-z0-9]+('[a-z]+)?|,)*", text), text
        assert not re.search(r"\b(an? (pants|trousers|shorts|sneakers|shoes|hair|legs)|the the|a an?)\b", text), text
        assert not re.search(r"\ba [aeio]|\ban [^aeiou]", text), text
        assert not re.search(r"\b(\w+) \1\b", text), text


def test_only_the_given_things_are_meant(scenes):
    for i, (scene, truth) in enumerate(scenes[:40]):
        expressions = sample_expressions(scene, truth, np.random.default_rng(i), 3, SINGLE, among=(0, 1))
        assert {expression.targets[0] for expression in expressions} <= {0, 1}


def test_targets_are_drawn_evenly(scenes, single):
    """Neither the size nor the place of a thing tells whether it is meant."""
    meant, all_of_them = [], []
    for (scene, truth), expressions in zip(scenes, single, strict=True):
        graph = graph_of(scene, truth)
        side = np.log(graph.area[list(graph.targets)]) if graph.targets else np.zeros(0)
        ranks = {target: float(rank) for target, rank in zip(graph.targets, side, strict=True)}
        meant += [ranks[e.targets[0]] - side.mean() for e in expressions]
        all_of_them += [float(side.std())] * len(expressions)
    assert abs(np.mean(meant)) <= 0.15 * np.mean(all_of_them)


def test_a_typo_changes_one_word_by_a_letter():
    rng, text = np.random.default_rng(0), "the striped mug behind the yellow chair"
    for _ in range(100):
        changed = typo(text, rng)
        different = [pair for pair in zip(text.split(), changed.split(), strict=True) if pair[0] != pair[1]]
        assert len(different) <= 1 and abs(len(changed) - len(text)) <= 1
    assert typo("red mug", rng) == "red mug"
