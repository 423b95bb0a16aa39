"""Quotas of control groups, read from trees like those of the kernel."""

from __future__ import annotations

import pytest

from nncore import quotas

V2 = "30 23 0:26 / /sys/fs/cgroup rw,nosuid - cgroup2 cgroup2 rw,nsdelegate\n"
V1 = (
    "31 23 0:27 / /sys/fs/cgroup ro - tmpfs tmpfs rw,mode=755\n"
    "33 31 0:29 {mounted} /sys/fs/cgroup/cpuset rw - cgroup cgroup rw,cpuset\n"
    "34 31 0:30 {mounted} /sys/fs/cgroup/cpu,cpuacct rw - cgroup cgroup rw,cpu,cpuacct\n"
)


def tree(root, membership, mounts, **files):
    (root / "proc/self").mkdir(parents=True)
    (root / "proc/self/cgroup").write_text(membership)
    (root / "proc/self/mountinfo").write_text("22 1 8:1 / / rw,relatime - ext4 /dev/sda1 rw\n" + mounts)
    for path, text in files.items():
        file = root / path
        file.parent.mkdir(parents=True, exist_ok=True)
        file.write_text(text)
    return quotas.cpus(str(root))


@pytest.mark.parametrize(
    ("text", "expected"),
    [("200000 100000\n", 2), ("250000 100000", 3), ("50000 100000", 1), ("1000 100000", 1), ("max 100000\n", None),
     ("", None), ("no numbers", None), ("100000", None), ("100000 0", None)],
)  # fmt: skip
def test_cpu_max_of_a_container(tmp_path, text, expected):
    assert tree(tmp_path, "0::/\n", V2, **{"sys/fs/cgroup/cpu.max": text}) == expected


def test_the_least_of_the_groups_that_a_group_is_in(tmp_path):
    files = {
        "sys/fs/cgroup/cpu.max": "max 100000",
        "sys/fs/cgroup/user.slice/cpu.max": "300000 100000",
        "sys/fs/cgroup/user.slice/job/cpu.max": "800000 100000",
        "sys/fs/cgroup/other/cpu.max": "100000 100000",
    }
    assert tree(tmp_path, "0::/user.slice/job\n", V2, **files) == 3


@pytest.mark.parametrize(("path", "mounted"), [("/", "/"), ("/docker/abc", "/docker/abc"), ("/docker/abc", "/")])
@pytest.mark.parametrize(("quota", "expected"), [("150000", 2), ("-1", None)])
def test_the_quota_of_v1(tmp_path, path, mounted, quota, expected):
    below = "docker/abc/" if mounted == "/" and path != "/" else ""
    group = f"sys/fs/cgroup/cpu,cpuacct/{below}"
    files = {group + "cpu.cfs_quota_us": quota, group + "cpu.cfs_period_us": "100000"}
    membership = f"5:cpuset:{path}\n4:cpu,cpuacct:{path}\n1:name=systemd:/\n0::/\n"
    assert tree(tmp_path, membership, V1.format(mounted=mounted), **files) == expected


def test_both_versions_at_once(tmp_path):
    files = {
        "sys/fs/cgroup/cpu,cpuacct/cpu.cfs_quota_us": "400000",
        "sys/fs/cgroup/cpu,cpuacct/cpu.cfs_period_us": "100000",
        "sys/fs/cgroup/unified/cpu.max": "200000 100000",
    }
    mounts = V1.format(mounted="/") + V2.replace("/sys/fs/cgroup", "/sys/fs/cgroup/unified")
    assert tree(tmp_path, "4:cpu,cpuacct:/\n0::/\n", mounts, **files) == 2


def test_a_mount_with_a_space_and_a_path_outside_of_it(tmp_path):
    mounts = V2.replace("/sys/fs/cgroup", r"/a\040b")
    assert tree(tmp_path, "0::/../elsewhere\n", mounts, **{"a b/cpu.max": "100000 100000"}) == 1


def test_where_nobody_says(tmp_path):
    assert quotas.cpus(str(tmp_path)) is None
    assert tree(tmp_path, "", "") is None
