"""Configurations from defaults, files and the command line."""

from dataclasses import dataclass, field

import pytest

from vg_gym.config import load_config, options_from, save_config
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


def test_what_is_saved_is_loaded(tmp_path):
    config = Config(lr=3e-4, sizes=[5], inner=Inner(2), free={"y": 1})
    save_config(config, tmp_path / "config.yaml")
    assert load_config(Config, [str(tmp_path / "config.yaml")]) == config


@pytest.mark.parametrize(
    ("argument", "message"),
    [
        ("nam=x", "unknown option 'nam': did you mean 'name'"),
        ("lr=fast", "option 'lr' in 'lr=fast'"),
        ("inner.width=wide", "option 'inner.width' in"),
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


def test_options_from_keywords():
    assert options_from(Config, {"lr": 1, "inner": {"width": 6}}) == Config(lr=1.0, inner=Inner(6))
    with pytest.raises(VGGymError, match="unknown option 'lrr': did you mean 'lr'"):
        options_from(Config, {"lrr": 1})
    with pytest.raises(VGGymError, match="option 'lr'"):
        options_from(Config, {"lr": "fast"})
