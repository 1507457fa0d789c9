"""The command line: help, ways to start it, and readers that end early."""

import os
import subprocess
import sys
from pathlib import Path

import pytest
from sqlalchemy import create_engine

from vitals import cli

COMMANDS = ("doctor", "bottlenecks", "plans", "memory", "advise", "indexes", "locks")


def run(*words: str, module: str = "vitals", **environment: str) -> subprocess.Popen[bytes]:
    known = {name: text for name, text in os.environ.items() if not name.startswith("VITALS_")}
    return subprocess.Popen(
        [sys.executable, "-m", module, *words],
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        env=known | environment,
    )


@pytest.mark.parametrize("name", COMMANDS)
def test_each_command_has_help(name: str, capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit) as ended:
        cli.main([name, "--help"])
    assert ended.value.code == 0
    said = capsys.readouterr().out
    assert "exit status" in said
    assert len(said.partition("\n\n")[2].partition("\n\n")[0]) > 60  # what it does


@pytest.mark.parametrize("module", ["vitals", "vitals.cli"])
def test_both_modules_are_the_command(module: str) -> None:
    with run("doctor", module=module) as started:
        _, said = started.communicate(timeout=60)
    assert started.returncode == 2
    assert said == b"vitals: no service given: name its URL, or set VITALS_URL\n"


@pytest.mark.parametrize("name", ["watch", "export"])
def test_a_command_of_the_watch_names_what_brings_it(
    name: str, capsys: pytest.CaptureFixture[str]
) -> None:
    assert cli.main([name, "--help"]) == 2
    assert "pip install 'vitals-kit[watch]'" in capsys.readouterr().err
    with pytest.raises(SystemExit):
        cli.main(["--help"])
    assert f"    {name} " in capsys.readouterr().out


def test_reader_that_ends_early_is_no_error(tmp_path: Path) -> None:
    engine = create_engine(f"sqlite:///{tmp_path}/wide.db")
    columns = ", ".join(f"c{number} integer REFERENCES other (id)" for number in range(600))
    with engine.begin() as connection:
        connection.exec_driver_sql("CREATE TABLE other (id integer PRIMARY KEY)")
        connection.exec_driver_sql(f"CREATE TABLE t ({columns})")
    engine.dispose()
    url = f"sqlite+aiosqlite:///{tmp_path}/wide.db"
    for words in (["indexes"], ["indexes", "--json"]):
        with run(*words, VITALS_DATABASE_URL=url) as started:
            assert started.stdout
            assert started.stdout.readline()
            started.stdout.close()  # with more than a pipe holds still to come
            assert started.stderr
            assert started.stderr.read() == b""
            assert started.wait(60) == 141  # as if SIGPIPE had ended it


def test_help_to_a_reader_that_is_gone() -> None:
    with run("--help") as started:
        assert started.stdout
        started.stdout.close()
        assert started.stderr
        assert started.stderr.read() == b""
        assert started.wait(60) in {0, 141}  # argparse hides the error of an unbuffered output
