"""The command that renders boards, and the committed boards."""

from pathlib import Path

import pytest

from dashboards.__main__ import RENDERED, main, rendered
from dashboards.boards.registry import BOARDS


def test_committed_boards_are_up_to_date() -> None:
    assert {path.name: path.read_text() for path in RENDERED.glob("*.json")} == {
        f"{board.uid}.json": rendered(board) for board in BOARDS
    }


def test_it_renders_into_a_folder_once(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    folder = tmp_path / "boards"
    assert main(["--output", str(folder)]) == 0
    assert capsys.readouterr().out.count("wrote ") == len(BOARDS)
    assert main(["--output", str(folder)]) == 0
    assert not capsys.readouterr().out
    assert main(["--output", str(folder), "--check"]) == 0


@pytest.mark.parametrize("fault", ["changed", "missing", "left over"])
def test_check_names_the_stale_file_and_what_to_do(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], fault: str
) -> None:
    main(["--output", str(tmp_path)])
    file = tmp_path / f"{BOARDS[0].uid}.json"
    before = {path: path.read_text() for path in tmp_path.glob("*.json")}
    if fault == "changed":
        file.write_text(before[file].replace('"refresh": "30s"', '"refresh": "5s"'))
    elif fault == "missing":
        file.unlink()
    else:
        file = tmp_path / "svc-forgotten.json"
        file.write_text("{}")
    capsys.readouterr()
    assert main(["--output", str(tmp_path), "--check"]) == 1
    message = capsys.readouterr().err
    assert str(file) in message
    assert ("delete it" if fault == "left over" else "make render") in message
