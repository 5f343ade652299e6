"""Hashes of source code do not depend on its documentation."""

from vg_gym.storage.code import code_fingerprint, statements

SOURCE = '''"""A module."""
WIDTH = 3  # pixels
"""Width of a thing."""


def area(side):
    """Return the area."""
    text = "a string that counts"
    return side * WIDTH, text
'''


def test_documentation_does_not_count():
    edited = SOURCE.replace("A module.", "Another module.").replace("# pixels", "# in pixels").replace("Width of", "Of")
    assert edited != SOURCE and statements(edited) == statements(SOURCE)


def test_code_counts():
    assert statements(SOURCE.replace("WIDTH = 3", "WIDTH = 4")) != statements(SOURCE)
    assert statements(SOURCE.replace("that counts", "that differs")) != statements(SOURCE)


def test_a_fingerprint_does_not_depend_on_the_order_of_files(tmp_path):
    files = [tmp_path / "a.py", tmp_path / "b.py"]
    for number, file in enumerate(files):
        file.write_text(f"VALUE = {number}\n", encoding="utf-8")
    assert code_fingerprint(files, "1.0") == code_fingerprint(files[::-1], "1.0") != code_fingerprint(files, "1.1")
