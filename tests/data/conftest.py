import pytest

from tests.layouts import make_instances, make_refs, write_layout


@pytest.fixture
def layout(tmp_path):
    """(root, instances, refs) of a small RefCOCOg on disk: 6 images, 18 refs, 36 sentences, three splits."""
    instances = make_instances([(64, 48), (50, 60), (64, 64), (40, 40), (80, 30), (33, 47)])
    refs = make_refs(instances, ["train", "val", "test"])
    return write_layout(tmp_path / "data", instances, refs), instances, refs
