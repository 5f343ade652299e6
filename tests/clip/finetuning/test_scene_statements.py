"""Statements about scenes of RefScenes: true of their things, and false where they are altered."""

from vg_gym.clip.finetuning.scene_statements import described
from vg_gym.data.worlds.refscenes.chunks import labels_of
from vg_gym.data.worlds.refscenes.kinds import is_held_out
from vg_gym.data.worlds.refscenes.meaning import sorts
from vg_gym.data.worlds.refscenes.records import scene_of
from vg_gym.data.worlds.refscenes.samples import RefScenes

SCENES = 8


def test_statements_name_annotated_things_with_their_true_looks():
    dataset = RefScenes("train", scenes=SCENES)
    for record in map(dataset.record, range(SCENES)):
        labels, known = labels_of(record), described(record)
        things = [scene_of(record, labels.attempt).things[number] for number in labels.numbers]
        assert known.statements and len(known.sorts) == len(known.colors) == len(things)
        for statement in known.statements:
            thing = things[statement.things[0]]
            assert statement.sort in sorts(thing.kind, thing.variant)
            assert statement.color in ("", thing.main.color)
            assert statement.altered != statement.text
            assert max(statement.things) < len(things)
            assert not is_held_out(thing.kind, thing.main.color)


def test_statements_are_a_pure_function_of_the_scene(monkeypatch, tmp_path):
    record = RefScenes("train", scenes=SCENES).record(3)
    first = described(record)
    monkeypatch.setenv("VG_GYM_CACHE", str(tmp_path))
    from vg_gym.clip.finetuning import scene_statements

    scene_statements._chunk.cache_clear()
    drawn_again = described(record)
    scene_statements._chunk.cache_clear()
    read_from_the_file = described(record)
    assert first == drawn_again == read_from_the_file
