"""The profile: whose time it is, within which bounds, and that other tools read it."""

import gzip
import json
import threading
import time
from pathlib import Path
from typing import Any

import httpx
import pytest
import uvicorn
from fastapi import FastAPI

from vitals import instrument
from vitals.cli import main
from vitals.profiling.sampler import MAX_STACKS, MINUTES, Profile, Sampler, difference

TOKEN = "an-administrator"
HEADERS = {"authorization": f"Bearer {TOKEN}"}


def spin(seconds: float) -> int:
    ends, count = time.monotonic() + seconds, 0
    while time.monotonic() < ends:
        count += 1
    return count


@pytest.fixture(scope="module")
def url() -> Any:
    """A service that is asked by route all the time."""
    app = FastAPI()
    instrument(app, logs=False, admin=TOKEN)

    @app.get("/computed/{number}")
    async def computed(number: int) -> int:
        return spin(0.02) + number

    @app.get("/threaded/{number}")
    def threaded(number: int) -> int:
        time.sleep(0.05)
        return number

    server = uvicorn.Server(uvicorn.Config(app, port=0, log_level="critical"))
    thread = threading.Thread(target=server.run)
    thread.start()
    stopped = threading.Event()
    try:
        deadline = time.monotonic() + 20
        while not (server.started and server.servers):
            assert time.monotonic() < deadline
            time.sleep(0.02)
        address = f"http://127.0.0.1:{server.servers[0].sockets[0].getsockname()[1]}"

        def ask() -> None:
            with httpx.Client(base_url=address, timeout=20) as client:
                while not stopped.is_set():
                    client.get("/computed/1")
                    client.get("/threaded/1")

        asking = threading.Thread(target=ask)
        asking.start()
        yield address
    finally:
        stopped.set()
        asking.join(20)
        server.should_exit = True
        thread.join(20)


def fetch(url: str, **asked: Any) -> httpx.Response:
    return httpx.get(f"{url}/vitals/profile", params=asked, headers=HEADERS, timeout=30)


def until_sampled(url: str, **asked: Any) -> dict[str, Any]:
    """A profile of speedscope that has both routes."""
    deadline = time.monotonic() + 20
    while True:
        found: dict[str, Any] = fetch(url, **asked).json()
        names = {each["name"] for each in found["profiles"]}
        functions = {each["name"].rpartition(".")[2] for each in found["shared"]["frames"]}
        routes = {"/computed/{number}", "/threaded/{number}"}
        if names >= routes and functions >= {"spin", "threaded"}:
            return found
        assert time.monotonic() < deadline, names


def test_time_is_by_route_of_loop_and_threads(url: str) -> None:
    found = until_sampled(url)
    frames = found["shared"]["frames"]
    for name, function in (("computed", "spin"), ("threaded", "threaded")):
        profile = next(each for each in found["profiles"] if each["name"] == f"/{name}/{{number}}")
        names = {frames[at]["name"].rpartition(".")[2] for s in profile["samples"] for at in s}
        assert function in names
        assert profile["endValue"] == pytest.approx(sum(profile["weights"]))
        assert len(profile["samples"]) == len(profile["weights"])


def test_a_route_alone_and_a_time_alone(url: str) -> None:
    until_sampled(url)
    lines: list[str] = []
    deadline = time.monotonic() + 20
    while not lines and time.monotonic() < deadline:  # of a busy machine
        asked = {"seconds": 1, "route": "/computed/{number}", "format": "folded"}
        lines = fetch(url, **asked).text.splitlines()
    assert lines
    assert all(line.startswith("/computed/{number};") for line in lines)
    assert sum(int(line.rpartition(" ")[2]) for line in lines) < 3_000, "of about one second"


def test_pprof_is_read_by_protobuf(url: str) -> None:
    protobuf = pytest.importorskip("google.protobuf.descriptor_pb2")
    until_sampled(url)
    profile = _pprof_message(protobuf)()
    profile.ParseFromString(gzip.decompress(fetch(url, format="pprof").content))
    texts = list(profile.string_table)
    assert texts[0] == ""
    routes = {texts[label.str] for sample in profile.sample for label in sample.label}
    assert routes >= {"/computed/{number}", "/threaded/{number}"}
    names = {each.id: texts[each.name] for each in profile.function}
    of_location = {each.id: names[each.line[0].function_id] for each in profile.location}
    found = {of_location[at] for sample in profile.sample for at in sample.location_id}
    assert "spin" in found
    assert sum(sample.value[0] for sample in profile.sample) > 0.1e9


def test_it_is_for_administrators(url: str) -> None:
    assert httpx.get(f"{url}/vitals/profile").status_code == 401
    assert fetch(url, seconds="x").status_code == 400
    assert fetch(url, seconds=100_000).status_code == 400
    assert fetch(url, format="x").status_code == 400
    assert httpx.put(f"{url}/vitals/profile", headers=HEADERS).status_code == 405


def test_the_command_writes_a_file(
    url: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    token, file = tmp_path / "token", tmp_path / "out.json"
    token.write_text(TOKEN)
    until_sampled(url)
    asked = ["profile", "--url", url, "--seconds", "0", "--output", str(file)]
    assert main([*asked, "--token-file", str(token)]) == 0
    assert json.loads(file.read_text())["profiles"]
    assert main(asked) == 2
    assert "--token-file" in capsys.readouterr().err


def test_memory_is_bounded() -> None:
    sampler = Sampler({})
    codes = [compile(f"f{number}()", "file", "exec") for number in range(MAX_STACKS + 50)]
    for minute in range(MINUTES + 5):
        sampler.record([("/a", ((code, 0),)) for code in codes], 0.1, minute)
    assert len(sampler._minutes) == MINUTES
    assert all(len(minute) <= MAX_STACKS + 1 for minute in sampler._minutes.values())
    assert sampler.profile()["", ()] == pytest.approx(50 * 0.1 * MINUTES), "of further ones"


def test_a_difference_is_what_was_added() -> None:
    code = spin.__code__
    before: Profile = {("/a", ((code, 0),)): 1.0, ("/b", ((code, 0),)): 1.0}
    after: Profile = {**before, ("/a", ((code, 0),)): 3.0, ("/c", ((code, 2),)): 0.5}
    assert difference(after, before) == {("/a", ((code, 0),)): 2.0, ("/c", ((code, 2),)): 0.5}


def _pprof_message(protobuf: Any) -> Any:
    """The messages of pprof's profile.proto, as far as they are used."""
    descriptor_pool = pytest.importorskip("google.protobuf.descriptor_pool")
    message_factory = pytest.importorskip("google.protobuf.message_factory")
    file = protobuf.FileDescriptorProto(name="profile.proto", package="p", syntax="proto3")
    number, text, message = 3, 9, 11  # int64, string, message
    kinds: dict[str, list[tuple[int, str, int, str, bool]]] = {
        "Label": [(1, "key", number, "", False), (2, "str", number, "", False)],
        "Sample": [
            (1, "location_id", number, "", True),
            (2, "value", number, "", True),
            (3, "label", message, "Label", True),
        ],
        "Line": [(1, "function_id", number, "", False), (2, "line", number, "", False)],
        "Location": [(1, "id", number, "", False), (4, "line", message, "Line", True)],
        "Function": [(1, "id", number, "", False), (2, "name", number, "", False)],
        "Profile": [
            (2, "sample", message, "Sample", True),
            (4, "location", message, "Location", True),
            (5, "function", message, "Function", True),
            (6, "string_table", text, "", True),
        ],
    }
    for name, fields in kinds.items():
        kind = file.message_type.add(name=name)
        for place, field, of, other, repeated in fields:
            kind.field.add(
                name=field,
                number=place,
                type=of,
                label=3 if repeated else 1,
                type_name=f".p.{other}" if other else None,
            )
    pool = descriptor_pool.DescriptorPool()
    pool.Add(file)
    return message_factory.GetMessageClass(pool.FindMessageTypeByName("p.Profile"))
