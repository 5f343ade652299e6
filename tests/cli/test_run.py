import pytest

from vg_gym.cli.run import run
from vg_gym.errors import VGGymError


def test_run_turns_a_user_error_into_one_line(capsys):
    def fails():
        raise VGGymError("no such\n  thing; do this")

    with pytest.raises(SystemExit) as caught:
        run(fails)
    assert caught.value.code == 2
    assert capsys.readouterr().err == "vg-gym: error: no such thing; do this\n"

    def stops():
        raise KeyboardInterrupt

    with pytest.raises(SystemExit) as caught:
        run(stops)
    assert caught.value.code == 130

    def bug():
        raise KeyError("a bug")

    with pytest.raises(KeyError):
        run(bug)
    calls = []
    run(lambda: calls.append(1))
    assert calls == [1]
