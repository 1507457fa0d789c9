import os
import subprocess
import sys
import threading
import time
from pathlib import Path

import pytest

from vitals.saturation.run_queue import RunQueue

SPIN = "import sys, time\nend = time.monotonic() + 20\nwhile time.monotonic() < end: pass"


@pytest.mark.skipif(sys.platform != "linux", reason="the kernel's statistics are Linux's")
def test_a_thread_beside_a_busy_process_waits_for_its_cpu() -> None:
    before = os.sched_getaffinity(0)
    cpu = {min(before)}
    with subprocess.Popen([sys.executable, "-c", SPIN]) as busy:
        try:
            os.sched_setaffinity(busy.pid, cpu)
            os.sched_setaffinity(0, cpu)
            queue = RunQueue()
            first, deadline = queue.waited(), time.monotonic() + 15
            assert first is not None
            while time.monotonic() < deadline and (queue.waited() or 0) - first < 0.1:
                sum(range(1000))
            assert (queue.waited() or 0) - first >= 0.1
            queue.close()
        finally:
            os.sched_setaffinity(0, before)
            busy.kill()


def test_sleeping_is_no_waiting_and_each_thread_has_its_own() -> None:
    queue = RunQueue()
    if queue.waited() is None:
        pytest.skip("this system does not count it")
    read: list[float | None] = []

    def other() -> None:
        own = RunQueue()
        read.append(own.waited())
        own.close()

    thread = threading.Thread(target=other)
    thread.start()
    thread.join()
    assert read[0] is not None
    assert read[0] <= (queue.waited() or 0)
    queue.close()
    assert queue.waited() is None


@pytest.mark.parametrize("text", [None, "", "1", "a b c"])
def test_unknown_is_none(tmp_path: Path, text: str | None) -> None:
    if text is not None:
        folder = tmp_path / str(threading.get_native_id())
        folder.mkdir()
        (folder / "schedstat").write_text(text)
    queue = RunQueue(tmp_path)
    assert queue.waited() is None
    queue.close()
