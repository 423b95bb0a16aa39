"""Nothing is lost: files are replaced whole, under kills and full disks, and no litter stays."""

from __future__ import annotations

import os
import random
import signal
import stat
import subprocess
import sys
import threading
import time

import numpy as np
import pytest

import nncore as nn
from nncore import files

resource = pytest.importorskip("resource")  # limits, kills and permissions as POSIX has them

KINDS = ["net.npz", "net.safetensors"]


def network(seed=0):
    return nn.MLP([4, 8, 2], seed=seed, backend="numpy")


def run(code, *arguments, **options):
    program = f"import sys; sys.path[:0] = {[path for path in sys.path if path]!r}\n{code}"
    return subprocess.Popen([sys.executable, "-c", program, *map(str, arguments)], text=True,
                            stdout=subprocess.PIPE, stderr=subprocess.PIPE, **options)  # fmt: skip


def same(a, b):
    return all((x == y).all() for x, y in zip(a.get_weights(), b.get_weights(), strict=True))


# ------------------------------------------------------------------------------------------------ kills and full disks

SAVES = """
import sys, itertools, nncore as nn
path, nets = sys.argv[1], [nn.MLP([4, 64, 64, 2], seed=seed, backend="numpy") for seed in (0, 1)]
print("ready", flush=True)
for net in itertools.cycle(nets):
    net.save(path)
"""


@pytest.mark.parametrize("name", KINDS)
def test_a_kill_at_any_moment_leaves_a_whole_file(tmp_path, name):
    """Twenty loops that save two networks by turns, killed at random moments; the seed is 5."""
    moments = random.Random(5)
    nets = [nn.MLP([4, 64, 64, 2], seed=seed, backend="numpy") for seed in (0, 1)]
    path = tmp_path / name
    nets[0].save(path)
    seen, processes = set(), []
    for _ in range(20):
        process = run(SAVES, path)
        processes.append(process)
        if len(processes) < 4:  # several write at once: they start slowly, and may meet
            continue
        process = processes.pop(0)
        assert process.stdout.readline() == "ready\n"
        time.sleep(moments.uniform(0, 0.02))
        process.kill()
        process.communicate()
        loaded = nn.load(path)
        which = [k for k, net in enumerate(nets) if same(net, loaded)]
        assert len(which) == 1
        seen.update(which)
    for process in processes:
        process.kill()
        process.communicate()
        nn.load(path)
    assert seen  # which of them, chance says
    nets[1].save(path)
    assert same(nn.load(path), nets[1])
    assert os.listdir(tmp_path) == [name]  # the next save removes what the killed ones have left


FULL = """
import sys, resource, signal, nncore as nn, nncore.io
path, limit = sys.argv[1], int(sys.argv[2])
net = nn.MLP([4, 64, 64, 2], seed=1, backend="numpy")
resource.setrlimit(resource.RLIMIT_FSIZE, (limit, limit))
try:
    net.save(path)
except OSError as error:
    print(type(error).__name__, error.errno)
"""


@pytest.mark.parametrize("name", KINDS)
@pytest.mark.parametrize("limit", [0, 1, 300, 5000, 18000])
def test_a_file_that_may_not_grow_leaves_the_old_one(tmp_path, name, limit):
    import errno

    network().save(tmp_path / name)
    before = (tmp_path / name).read_bytes()
    output, errors = run(FULL, tmp_path / name, limit).communicate()
    assert output == f"OSError {errno.EFBIG}\n", errors
    assert errors == ""
    assert (tmp_path / name).read_bytes() == before
    assert os.listdir(tmp_path) == [name]


@pytest.mark.skipif(not hasattr(os, "geteuid") or os.geteuid() != 0, reason="mounts a small file system")
@pytest.mark.parametrize("name", [*KINDS, "checkpoint"])
def test_a_full_disk_leaves_the_old_file(tmp_path, name):
    if subprocess.run(["mount", "-t", "tmpfs", "-o", "size=64k", "tmpfs", tmp_path], capture_output=True).returncode:
        pytest.skip("no file system can be mounted here")
    try:
        path = tmp_path / name
        small, large = network(), nn.MLP([4, 100, 100, 2], backend="numpy")
        X, y = np.zeros((4, 4)), np.zeros((4, 2))

        def save(net):
            if name == "checkpoint":
                net.fit(X, y, epochs=1, callbacks=nn.callbacks.Checkpoint(path))
            else:
                net.save(path)

        save(small)
        before = path.read_bytes()
        (tmp_path / "filler").write_bytes(bytes(30_000))
        with pytest.raises(OSError, match="No space left"):
            save(large)
        assert path.read_bytes() == before
        assert sorted(os.listdir(tmp_path)) == sorted(["filler", name])
        (tmp_path / "filler").unlink()
        (tmp_path / "filler").write_bytes(bytes(64_000 - 4096 * (len(before) // 4096 + 2)))
        with pytest.raises(OSError, match="No space left"):
            large.fit(X, y, epochs=10_000, batch_size=4, callbacks=nn.callbacks.CSVLogger(tmp_path / "log.csv"))
        assert path.read_bytes() == before
    finally:
        subprocess.run(["umount", tmp_path], check=True)


@pytest.mark.skipif(not os.path.exists("/dev/full"), reason="no /dev/full")
@pytest.mark.parametrize("device", ["/dev/full", "/dev/null"])
@pytest.mark.parametrize("ending", ["npz", "safetensors"])
def test_a_device_is_written_to_and_not_replaced(tmp_path, device, ending):
    link = tmp_path / f"net.{ending}"
    link.symlink_to(device)
    kind = os.stat(device).st_rdev
    if device == "/dev/full":
        with pytest.raises(OSError, match="No space left"):
            network().save(link)
    else:
        network().save(link)
    assert os.stat(device).st_rdev == kind and stat.S_ISCHR(os.stat(device).st_mode)
    assert not [name for name in os.listdir("/dev") if name.endswith(".tmp")]


def test_an_error_while_writing_leaves_the_old_file(tmp_path):
    path = tmp_path / "file"
    path.write_bytes(b"old")

    def fail(file):
        file.write(b"half of the n")
        raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        files.replace(str(path), fail)
    assert path.read_bytes() == b"old"
    assert os.listdir(tmp_path) == ["file"]


def test_file_and_folder_reach_the_disk(tmp_path, monkeypatch):
    """In this order: the file's content, its name, the folder."""
    calls = []
    real, replace = os.fsync, os.replace

    def fsync(descriptor):
        calls.append("folder" if stat.S_ISDIR(os.fstat(descriptor).st_mode) else "file")
        real(descriptor)

    monkeypatch.setattr(os, "fsync", fsync)
    monkeypatch.setattr(os, "replace", lambda a, b: (calls.append("rename"), replace(a, b)))
    network().save(tmp_path / "net.npz")
    assert calls == ["file", "rename", "folder"]


# ----------------------------------------------------------------------------------------------- permissions and links


@pytest.mark.parametrize("name", KINDS)
@pytest.mark.parametrize("mask", [0o022, 0o077, 0o002])
def test_a_new_file_has_what_the_umask_leaves(tmp_path, name, mask):
    before = os.umask(mask)
    try:
        network().save(tmp_path / name)
    finally:
        os.umask(before)
    assert stat.S_IMODE(os.stat(tmp_path / name).st_mode) == 0o666 & ~mask


@pytest.mark.parametrize("mode", [0o600, 0o640, 0o666, 0o755])
def test_the_permissions_of_an_existing_file_stay(tmp_path, mode):
    path = tmp_path / "net.npz"
    path.touch()
    path.chmod(mode)
    network().save(path)
    assert stat.S_IMODE(os.stat(path).st_mode) == mode
    assert same(nn.load(path), network())


@pytest.mark.skipif(not hasattr(os, "geteuid") or os.geteuid() != 0, reason="gives files away")
def test_the_owner_of_an_existing_file_stays(tmp_path):
    path = tmp_path / "net.npz"
    path.touch()
    os.chown(path, 1234, 2345)
    path.chmod(0o4640)
    network().save(path)
    status = os.stat(path)
    assert (status.st_uid, status.st_gid, stat.S_IMODE(status.st_mode)) == (1234, 2345, 0o4640)


def test_a_file_that_may_not_be_written_is_not_replaced(tmp_path, monkeypatch):
    """Though its folder would allow it."""
    path = tmp_path / "net.npz"
    path.write_bytes(b"kept")
    path.chmod(0o444)
    monkeypatch.setattr(os, "access", lambda path, mode: False)  # for root all is allowed
    with pytest.raises(PermissionError, match=r"net\.npz"):
        network().save(path)
    assert path.read_bytes() == b"kept" and os.listdir(tmp_path) == ["net.npz"]


def test_links_stay_and_what_they_stand_for_is_replaced(tmp_path):
    (tmp_path / "models").mkdir()
    link, target = tmp_path / "latest.npz", tmp_path / "models" / "net.npz"
    link.symlink_to("models/net.npz")
    for seed in (1, 2):  # first it points nowhere
        network(seed).save(link)
        assert link.is_symlink() and not target.is_symlink()
        assert same(nn.load(target), network(seed))
    assert os.listdir(tmp_path / "models") == ["net.npz"]
    loop = tmp_path / "loop.npz"
    loop.symlink_to("loop.npz")
    with pytest.raises(OSError, match="symbolic links"):
        network().save(loop)
    assert loop.is_symlink()


@pytest.mark.parametrize("where", ["missing/net.npz", "folder", "file/net.npz", "x" * 300 + ".npz"])
def test_places_where_no_file_can_be(tmp_path, where):
    (tmp_path / "folder").mkdir()
    (tmp_path / "file").touch()
    with pytest.raises(OSError, match=r"No such|Is a dir|Not a dir|too long"):
        network().save(tmp_path / where)
    assert sorted(os.listdir(tmp_path)) == ["file", "folder"] and not os.listdir(tmp_path / "folder")


@pytest.mark.parametrize("name", ["n" * 251 + ".npz", "é" * 125 + ".npz", "a b'\"\n.npz", "net", ".npz"])
def test_names_of_every_kind(tmp_path, name):
    network().save(tmp_path / name)
    assert same(nn.load(tmp_path / name), network())
    assert os.listdir(tmp_path) == [name]


@pytest.mark.skipif(not os.path.exists("/proc/self/fd"), reason="looks at what is open")
@pytest.mark.parametrize("locks", [True, False])
def test_a_file_takes_its_name_closed_where_none_is_locked(tmp_path, monkeypatch, locks):
    """Windows, which has no fcntl, renames no open file; elsewhere the lock holds until the rename."""
    is_open, rename = [], os.replace

    def watched(source, target):
        held = {os.path.realpath(f"/proc/self/fd/{number}") for number in os.listdir("/proc/self/fd")}
        is_open.append(os.path.realpath(source) in held)
        rename(source, target)

    if not locks:
        monkeypatch.setattr(files, "fcntl", None)
    monkeypatch.setattr(os, "replace", watched)
    network().save(tmp_path / "net.npz")
    assert is_open == [locks] and os.listdir(tmp_path) == ["net.npz"]


# ------------------------------------------------------------------------------------------------------- what is left


def test_what_is_still_written_is_not_removed(tmp_path):
    """A lock says so also where the writer's number means nothing, as in another container."""
    fcntl = pytest.importorskip("fcntl")
    path = tmp_path / "net.npz"
    written, left = tmp_path / "net.npz.999999998.ab.tmp", tmp_path / "net.npz.999999999.ab.tmp"
    left.touch()
    with open(written, "wb") as file:
        fcntl.flock(file, fcntl.LOCK_EX)
        network().save(path)
    assert sorted(os.listdir(tmp_path)) == ["net.npz", written.name]
    network().save(path)
    assert os.listdir(tmp_path) == ["net.npz"]


def test_threads_that_save_to_one_path_leave_one_of_their_files(tmp_path):
    path, errors = tmp_path / "net.npz", []

    def save(seed):
        try:
            for _ in range(10):
                network(seed).save(path)
        except BaseException as error:  # seen below
            errors.append(error)

    threads = [threading.Thread(target=save, args=(seed,)) for seed in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert not errors
    assert any(same(nn.load(path), network(seed)) for seed in range(4))
    assert os.listdir(tmp_path) == ["net.npz"]


def test_a_log_is_replaced_in_one_go(tmp_path, monkeypatch):
    """What a resumed run has written before is not lost if it ends while the log is begun."""
    path, X, y = tmp_path / "log.csv", np.zeros((4, 4)), np.zeros((4, 2))
    net = network()
    net.fit(X, y, epochs=3, callbacks=nn.callbacks.CSVLogger(path))
    before = path.read_bytes()
    assert before.count(b"\n") == 4

    def fail(descriptor):
        raise OSError("the disk is gone")

    with monkeypatch.context() as patch:
        patch.setattr(os, "fsync", fail)
        with pytest.raises(OSError, match="gone"):
            net.fit(X, y, epochs=3, callbacks=nn.callbacks.CSVLogger(path))
    assert path.read_bytes() == before and os.listdir(tmp_path) == ["log.csv"]


def test_limits_are_those_of_the_subprocess():
    """The tests above must not have limited this process."""
    assert (
        resource.getrlimit(resource.RLIMIT_FSIZE)[0] == resource.RLIM_INFINITY
        or resource.getrlimit(resource.RLIMIT_FSIZE)[0] > 10**6
    )
    assert signal.getsignal(signal.SIGINT) is signal.default_int_handler
