"""Files as kernels write them: cgroup v1 and v2 exclude each other, so no machine has both."""

from pathlib import Path

import pytest

from vitals.saturation.cgroup import Cgroup, Throttling, Usage


def write(root: Path, files: dict[str, str]) -> None:
    for name, text in files.items():
        path = root / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(f"{text}\n")


def test_limits_of_cgroup_v2_are_the_tightest_of_the_group_and_its_parents(tmp_path: Path) -> None:
    group = "sys/fs/cgroup/shop.slice/api.service"
    write(
        tmp_path,
        {
            "proc/self/cgroup": "0::/shop.slice/api.service",
            f"{group}/memory.max": "max",
            f"{group}/memory.current": "300",
            f"{group}/pids.max": "64",
            f"{group}/pids.current": "11",
            f"{group}/cpu.max": "max 100000",
            f"{group}/cgroup.type": "domain",
            f"{group}/cpu.pressure": "some avg10=0.00 avg60=0.00 avg300=0.00 total=5",
            "sys/fs/cgroup/shop.slice/memory.max": "1000",
            "sys/fs/cgroup/shop.slice/memory.current": "500",
            "sys/fs/cgroup/shop.slice/memory.stat": "anon 400\ninactive_file 80",
            "sys/fs/cgroup/shop.slice/pids.max": "max",
            "sys/fs/cgroup/shop.slice/pids.current": "70",
            "sys/fs/cgroup/shop.slice/cpu.max": "150000 100000",
            "sys/fs/cgroup/shop.slice/cpu.stat": (
                "usage_usec 9\nnr_periods 20\nnr_throttled 5\nthrottled_usec 2500000"
            ),
        },
    )
    cgroup = Cgroup.of_this_process(tmp_path)
    assert cgroup.memory() == Usage(420, 1000)
    assert cgroup.tasks() == Usage(11, 64)
    assert cgroup.cores() == 1.5
    assert cgroup.throttling() == Throttling(20, 5, 2.5)
    assert cgroup.pressure("cpu") == tmp_path / group / "cpu.pressure"
    assert cgroup.pressure("io") is None


@pytest.mark.parametrize("own", ["/docker/f00", ""], ids=["on the host", "in a container"])
def test_limits_of_cgroup_v1(tmp_path: Path, own: str) -> None:
    """In a container the path is that of the host, while its group is mounted as the topmost."""
    memory, cpu = f"sys/fs/cgroup/memory{own}", f"sys/fs/cgroup/cpu,cpuacct{own}"
    write(
        tmp_path,
        {
            "proc/self/cgroup": "4:memory:/docker/f00\n3:cpu,cpuacct:/docker/f00\n1:name=systemd:/",
            f"{memory}/memory.limit_in_bytes": "1000",
            f"{memory}/memory.usage_in_bytes": "700",
            f"{memory}/memory.stat": "cache 300\ntotal_inactive_file 200",
            f"{cpu}/cpu.cfs_quota_us": "50000",
            f"{cpu}/cpu.cfs_period_us": "100000",
            f"{cpu}/cpu.stat": "nr_periods 10\nnr_throttled 2\nthrottled_time 3000000000",
        },
    )
    cgroup = Cgroup.of_this_process(tmp_path)
    assert cgroup.memory() == Usage(500, 1000)
    assert cgroup.cores() == 0.5
    assert cgroup.throttling() == Throttling(10, 2, 3.0)
    assert cgroup.tasks() is None


def test_no_limit_is_none_rather_than_zero(tmp_path: Path) -> None:
    v1 = "sys/fs/cgroup"
    write(
        tmp_path,
        {
            "proc/self/cgroup": "2:memory:/\n1:cpu:/\n0::/",
            f"{v1}/memory/memory.limit_in_bytes": "9223372036854771712",
            f"{v1}/memory/memory.usage_in_bytes": "700",
            f"{v1}/cpu/cpu.cfs_quota_us": "-1",
            f"{v1}/cpu/cpu.cfs_period_us": "100000",
            f"{v1}/unified/cpu.pressure": "some avg10=0.00 avg60=0.00 avg300=0.00 total=5",
        },
    )
    cgroup = Cgroup.of_this_process(tmp_path)
    assert (cgroup.memory(), cgroup.cores(), cgroup.throttling()) == (None, None, None)
    assert cgroup.pressure("cpu") is None  # of the topmost group it is the machine's


def test_a_system_without_cgroups_has_no_limits(tmp_path: Path) -> None:
    cgroup = Cgroup.of_this_process(tmp_path)
    assert (cgroup.memory(), cgroup.tasks(), cgroup.cores()) == (None, None, None)
    assert cgroup.throttling() is None


@pytest.mark.parametrize("text", ["", "garbage", "0::/../../outside", "7:cpu:/gone", "\n\n:::"])
def test_odd_files_raise_nothing(tmp_path: Path, text: str) -> None:
    write(
        tmp_path,
        {"proc/self/cgroup": text, "sys/fs/cgroup/cpu.max": "x", "sys/fs/cgroup/memory.max": "-"},
    )
    cgroup = Cgroup.of_this_process(tmp_path)
    assert (cgroup.memory(), cgroup.cores(), cgroup.throttling()) == (None, None, None)
