import asyncio
import os
from pathlib import Path
from threading import current_thread, get_native_id, main_thread

import pytest

from service.errors import UnavailableError
from service.users.passwords import NICE, PasswordCheck, Passwords
from tests.service.running import settings_for

pytestmark = pytest.mark.anyio


async def test_checks_passwords(tmp_path: Path) -> None:
    passwords = Passwords(settings_for(tmp_path))
    stored = await passwords.hash("open sesame")
    assert stored.startswith("$argon2id$")
    assert await passwords.check("open sesame", stored) == PasswordCheck(matches=True)
    assert await passwords.check("open barley", stored) == PasswordCheck(matches=False)
    assert await passwords.check("open sesame", None) == PasswordCheck(matches=False)
    assert await passwords.check("dummy password", None) == PasswordCheck(matches=False)
    assert await passwords.check("open sesame", "damaged") == PasswordCheck(matches=False)
    passwords.close()


async def test_hashes_off_the_event_loop(tmp_path: Path) -> None:
    passwords = Passwords(settings_for(tmp_path))
    assert await passwords._run(current_thread) is not main_thread()
    passwords.close()


async def test_hashing_threads_have_lower_priority(tmp_path: Path) -> None:
    passwords = Passwords(settings_for(tmp_path))
    usual = os.getpriority(os.PRIO_PROCESS, 0)
    own = await passwords._run(lambda: os.getpriority(os.PRIO_PROCESS, get_native_id()))
    assert own == min(usual + NICE, 19)
    assert os.getpriority(os.PRIO_PROCESS, 0) == usual
    passwords.close()


async def test_slots_limit_concurrent_logins(tmp_path: Path) -> None:
    passwords = Passwords(settings_for(tmp_path, hash_threads=1, hash_queue=20))
    inside = most = 0

    async def log_in() -> None:
        nonlocal inside, most
        async with passwords.slot():
            inside += 1
            most = max(most, inside)
            await passwords.check("x", None)
            inside -= 1

    async with asyncio.TaskGroup() as crowd:
        for _ in range(20):
            crowd.create_task(log_in())
    assert most == 2
    passwords.close()


async def test_cancelled_waiter_frees_its_slot(tmp_path: Path) -> None:
    passwords = Passwords(settings_for(tmp_path, hash_threads=1, hash_queue=3))
    async with passwords.slot(), passwords.slot():
        waiting = asyncio.create_task(passwords.slot().__aenter__())
        await asyncio.sleep(0)
        with pytest.raises(UnavailableError):
            await passwords.slot().__aenter__()
        waiting.cancel()
        with pytest.raises(asyncio.CancelledError):
            await waiting
        waiting = asyncio.create_task(passwords.slot().__aenter__())
        await asyncio.sleep(0)
        assert not waiting.done()
    await asyncio.wait_for(waiting, 5)
    passwords.close()
