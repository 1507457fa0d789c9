"""The tests of memory run in a process of their own, see `test_apart`."""

import os

APART = "VITALS_TESTS_APART"
NEED_A_NEW_PROCESS = ("test_containers.py", "test_growth.py", "test_growth_watch.py")

collect_ignore = [] if APART in os.environ else list(NEED_A_NEW_PROCESS)
