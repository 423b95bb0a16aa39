"""Files that are replaced whole: what is at a path is the old content or the new one, whenever the process ends.

The new content goes into a temporary file in the same folder, reaches the disk, and takes the path by a rename, which
the folder then has on the disk as well. While it is written the temporary file is locked, so that what a killed process
has left can be told from what another one is still writing, and is removed by the next writer.
"""

from __future__ import annotations

import contextlib
import errno
import io
import os
import stat
import zlib
from typing import IO, TYPE_CHECKING

try:
    import fcntl
except ImportError:  # not on Windows: nothing is locked there, and nothing removed
    fcntl = None  # type: ignore[assignment]

if TYPE_CHECKING:
    from collections.abc import Callable

_LONGEST_NAME = 200  # bytes; systems take 255, and the temporary name is some 30 longer
# What a file system, or a folder that may not be read, says where it cannot flush a folder
_NO_FOLDER_SYNC = frozenset((errno.EINVAL, errno.ENOTSUP, errno.EACCES, errno.EPERM, errno.EBADF))


def replace(path: str, write: Callable[[IO[bytes]], None], *, clean: bool = True) -> None:
    """Have `write` fill a new file, and put it in the place of the one at `path`.

    A link stays, and what it stands for is replaced. The permissions of an existing file stay, and its owner and group
    as far as this process may set them; a new file has those that the umask leaves. What is there and no regular file
    (a device, a pipe) is written to as it is.

    Parameters
    ----------
    path : str
        The file.
    write : callable
        Gets the file, open for writing bytes.
    clean : bool
        Whether to remove what killed writers of this file have left.

    Raises
    ------
    OSError
        If the file cannot be written, such as on a full disk, or an existing one may not be: the old file is as it
        was, and no temporary one is left.
    """
    target = os.path.realpath(path)
    try:
        old = os.stat(target)
    except FileNotFoundError:
        old = None
    if old is not None and not stat.S_ISREG(old.st_mode):
        with open(target, "wb") as device:  # a folder is refused here
            content = io.BytesIO()  # a device may not say where it is, as an archive must know
            write(content)
            device.write(content.getbuffer())
        return
    if old is not None and not os.access(target, os.W_OK):
        raise PermissionError(errno.EACCES, os.strerror(errno.EACCES), target)
    if clean:
        clear(target)
    temporary, file = _new(target)
    try:
        with file:
            if old is not None:
                _take_over(file.fileno(), old)
            write(file)
            file.flush()
            os.fsync(file.fileno())
            if fcntl is not None:
                os.replace(temporary, target)  # while it is locked
        if fcntl is None:
            os.replace(temporary, target)  # Windows renames no file that is open
    except BaseException:
        if os.path.exists(temporary):
            os.unlink(temporary)
        raise
    _sync_folder(os.path.dirname(target))


def clear(path: str) -> None:
    """Remove what processes that were killed while they wrote this file have left beside it."""
    if fcntl is None or not os.path.exists("/proc/self"):
        return
    folder, name = os.path.split(os.path.realpath(path))
    start = _stem(name) + "."
    for entry in os.listdir(folder):
        if not (entry.startswith(start) and entry.endswith(".tmp")):
            continue
        writer = entry[len(start) :].partition(".")[0]
        if writer.isdecimal() and not os.path.exists(f"/proc/{writer}"):
            _remove_unless_locked(os.path.join(folder, entry))


def _stem(name: str) -> str:
    long = len(os.fsencode(name)) > _LONGEST_NAME
    return f".{zlib.crc32(os.fsencode(name)):08x}" if long else name


def _new(target: str) -> tuple[str, IO[bytes]]:
    """Create a temporary file beside `target`, and lock it."""
    folder, name = os.path.split(target)
    while True:
        temporary = os.path.join(folder, f"{_stem(name)}.{os.getpid()}.{os.urandom(4).hex()}.tmp")
        file = open(temporary, "xb")  # noqa: SIM115 - the caller closes it
        try:
            if fcntl is not None:
                fcntl.flock(file, fcntl.LOCK_EX)
        except OSError:  # a file system without locks
            return temporary, file
        if os.fstat(file.fileno()).st_nlink:  # not removed in the moment before it was locked
            return temporary, file
        file.close()


def _take_over(descriptor: int, old: os.stat_result) -> None:
    """Give a new file the owner and permissions of the old one."""
    if hasattr(os, "fchown"):
        new = os.fstat(descriptor)
        if (new.st_uid, new.st_gid) != (old.st_uid, old.st_gid):
            with contextlib.suppress(PermissionError):
                os.fchown(descriptor, old.st_uid, old.st_gid)
        os.fchmod(descriptor, stat.S_IMODE(old.st_mode))


def _remove_unless_locked(path: str) -> None:
    """Remove a file that no process is writing, here or in another container with the same folder."""
    try:
        with open(path, "rb") as file:
            fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
            os.unlink(path)
    except OSError:  # locked, gone, or not ours
        pass


def _sync_folder(folder: str) -> None:
    if os.name != "posix":
        return
    try:
        descriptor = os.open(folder, os.O_RDONLY)
    except OSError as error:
        if error.errno in _NO_FOLDER_SYNC:
            return
        raise
    try:
        os.fsync(descriptor)
    except OSError as error:
        if error.errno not in _NO_FOLDER_SYNC:
            raise
    finally:
        os.close(descriptor)
