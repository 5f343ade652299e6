"""Configurations from defaults, files and the command line."""

from dataclasses import dataclass, field
from typing import Annotated

import pytest

from vg_gym.cli.option_docs import described
from vg_gym.config import (
    PositiveInt,
    Range,
    UnitInterval,
    check_ranges,
    load_config,
    options_from,
    save_config,
)
from vg_gym.errors import VGGymError


@dataclass
class Inner:
    width: int = 4


@dataclass
class Config:
    lr: float = 0.1
    name: str = "a"
    limit: int | None = None
    sizes: list[int] = field(default_factory=lambda: [1, 2])
    inner: Inner = field(default_factory=Inner)
    free: dict[str, int] = field(default_factory=dict)


def test_later_arguments_win(tmp_path):
    (tmp_path / "a.yaml").write_text("lr: 0.5\nname: file\ninner: {width: 8}\n")
    assert load_config(Config, []) == Config()
    config = load_config(Config, [str(tmp_path / "a.yaml"), "name=typed", "inner.width=9", "free.x=3", "limit=7"])
    assert config == Config(lr=0.5, name="typed", inner=Inner(9), free={"x": 3}, limit=7)
    assert load_config(Config, ["name=typed", str(tmp_path / "a.yaml")]).name == "file"
    assert isinstance(config.inner, Inner)


def test_nothing_after_the_sign_is_none_or_empty():
    config = load_config(Config, ["limit=3", "limit=", "name="])
    assert config.limit is None and config.name == ""
    with pytest.raises(VGGymError, match="option 'lr' is ''; it must be a number"):
        load_config(Config, ["lr="])


def test_what_is_saved_is_loaded(tmp_path):
    config = Config(lr=3e-4, sizes=[5], inner=Inner(2), free={"y": 1})
    save_config(config, tmp_path / "config.yaml")
    assert load_config(Config, [str(tmp_path / "config.yaml")]) == config


@pytest.mark.parametrize(
    ("argument", "message"),
    [
        ("nam=x", "unknown option 'nam': did you mean 'name'"),
        ("lr=fast", "option 'lr' is 'fast'; it must be a number"),
        ("inner.width=wide", "option 'inner.width' is 'wide'; it must be a whole number"),
        ("inner.height=3", "option 'inner.height' in"),
        ("none.yaml", "no config file 'none.yaml'"),
    ],
)
def test_mistakes_are_one_line(argument, message):
    with pytest.raises(VGGymError, match=message) as caught:
        load_config(Config, [argument])
    assert "\n" not in str(caught.value)


def test_an_unknown_key_of_a_file_is_named(tmp_path):
    (tmp_path / "a.yaml").write_text("nme: x\n")
    with pytest.raises(VGGymError, match="unknown option 'nme': did you mean 'name'"):
        load_config(Config, [str(tmp_path / "a.yaml")])


@dataclass
class Ranged:
    rate: UnitInterval = 0.5
    count: PositiveInt | None = None
    betas: tuple[UnitInterval, UnitInterval] = (0.9, 0.99)
    plain: float = 0.0
    inner: "Bounded" = field(default_factory=lambda: Bounded())


@dataclass
class Bounded:
    cost: Annotated[float, Range(gt=-1, lt=1)] = 0.0


@pytest.mark.parametrize(
    ("option", "said"),
    [
        ("rate=2", "'rate' is 2.0; it must be a number between 0 and 1"),
        ("rate=nan", "'rate' is nan; it must be a finite number between 0 and 1"),
        ("count=0", "'count' is 0; it must be a whole number at least 1 or none"),
        ("betas=[0.5,1.5]", "'betas' is \\(0.5, 1.5\\); it must be a list, each a number between 0 and 1"),
        ("plain=-inf", "'plain' is -inf; it must be a finite number"),
        ("inner.cost=1", "'inner.cost' is 1.0; it must be a number above -1 and below 1"),
    ],
)
def test_numbers_out_of_their_range_are_named(option, said):
    with pytest.raises(VGGymError, match=said):
        load_config(Ranged, [option])


def test_numbers_within_their_range_pass():
    for options in ({}, {"rate": 0}, {"rate": 1}, {"count": 1}, {"plain": -1e30}, {"betas": [0, 1]}):
        check_ranges(options_from(Ranged, options))


def test_numbers_that_floats_cannot_hold_are_refused():
    with pytest.raises(VGGymError, match="'count' is 9007199254740992; it must be .*, below 9,007,199,254,740,992"):
        load_config(Ranged, [f"count={2**53}"])


def test_ranges_are_shown():
    said = described(Ranged)
    for line in ("rate=0.5   (between 0 and 1)", "plain=0.0", "inner.cost=0.0   (above -1 and below 1)"):
        assert f"  {line}\n" in said


def test_options_from_keywords():
    assert options_from(Config, {"lr": 1, "inner": {"width": 6}}) == Config(lr=1.0, inner=Inner(6))
    with pytest.raises(VGGymError, match="unknown option 'lrr': did you mean 'lr'"):
        options_from(Config, {"lrr": 1})
    with pytest.raises(VGGymError, match="option 'lr'"):
        options_from(Config, {"lr": "fast"})
