"""How pytest-xdist shares out tests: whole files, and those first that take longest.

Tests of one file share servers, and those of the browser a recorded hour, which would be started
once in each process. (pytest-xdist's own groups of tests have no effect under pytest 9.)
"""

from xdist.scheduler import LoadFileScheduling
from xdist.workermanage import WorkerController

LONGEST = (
    "tests/browser",
    "tests/integration/test_demo.py",
    "tests/integration/test_watch.py",
    "tests/stack/test_survival.py",
    "tests/vitals/cache/redis/test_recovery.py",
    "tests/service/test_main.py",
    "tests/alerts/test_rules.py",
    "tests/service/server/test_protocol.py",
    "tests/service/db/test_postgresql.py",
    "tests/bench/test_fuzz.py",
    "tests/alerts/test_alertmanager.py",
    "tests/integration/test_faults.py",
    "tests/service/test_openapi.py",
    "tests/stack/test_run.py",
)
"""Files, and the folder whose files run in one process, by how long they take."""


class LongestFirst(LoadFileScheduling):  # type: ignore[misc]  # published without types
    """Sends the files of ``LONGEST`` first; what comes last is short."""

    def _split_scope(self, nodeid: str) -> str:
        file: str = super()._split_scope(nodeid)
        folder = file.rpartition("/")[0]
        return folder if folder in LONGEST else file

    def _assign_work_unit(self, node: WorkerController) -> None:
        for scope in reversed(LONGEST):
            if scope in self.workqueue:
                self.workqueue.move_to_end(scope, last=False)
        super()._assign_work_unit(node)
