import hashlib
import io
import zipfile

from vg_gym.cli.entry import main
from vg_gym.data import archives


def test_download_unpacks_and_says_how_to_go_on(tmp_path, capsys, monkeypatch):
    buffer = io.BytesIO()
    with zipfile.ZipFile(buffer, "w") as file:
        file.writestr("refcoco+/instances.json", "{}")
    data = buffer.getvalue()
    (tmp_path / "refcoco+.zip").write_bytes(data)  # put there by hand, so that nothing is fetched
    entry = archives.Archive(
        "refcoco+.zip", (), "instances.json", "refcoco+", len(data), hashlib.sha256(data).hexdigest()
    )
    monkeypatch.setitem(archives.ARCHIVES, "refcoco+", entry)
    main(["download", "refcoco+", "--root", str(tmp_path)])
    assert f"dataset=refcoco+-unc root={tmp_path}" in capsys.readouterr().out
    assert (tmp_path / "refcoco+" / "instances.json").read_text() == "{}"
