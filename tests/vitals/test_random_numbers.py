"""The kit draws from a generator of its own."""

import random
import subprocess
import sys

import httpx
from fastapi import FastAPI

from tests.vitals.client import fetch
from vitals import BodyLogging, instrument

FORKED = """
import os, random, sys
from vitals.random_numbers import RANDOM
random.seed(1)
for _ in range(2):
    if not (child := os.fork()):
        print(RANDOM.getrandbits(128), flush=True)
        os._exit(0)
    os.waitpid(child, 0)
print(RANDOM.getrandbits(128))
"""


def test_requests_leave_the_numbers_of_the_host_in_their_order() -> None:
    app = FastAPI()

    @app.get("/items")
    def items() -> int:
        return 1

    instrument(
        app,
        logs=False,
        otlp_endpoint="http://127.0.0.1:1",
        trace_ratio=0.5,
        body_logging=BodyLogging(share=0.5),
    )
    before = random.getstate()
    for _ in range(3):
        response: httpx.Response = fetch(app, "GET", "/items")
        assert response.status_code == 200
    assert random.getstate() == before


def test_forked_workers_have_other_numbers_though_the_host_seeds_its_own() -> None:
    done = subprocess.run(
        [sys.executable, "-c", FORKED], capture_output=True, text=True, check=True
    )
    numbers = done.stdout.split()
    assert len({*numbers}) == len(numbers) == 3
