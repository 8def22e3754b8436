#!/usr/bin/env python3
# SPDX-License-Identifier: GPL-2.0
"""What selftests/mshare/files.sh has programs do with files.

    files.py measure COUNT READER ARGUMENT... [-- COMMAND...]

starts COUNT processes of a reader, under a command if there is one, and prints what
all of them have read (it has to be the same), the bytes of page tables and the page
faults that it took them together.  A reader is a function here, or "exec" and another
program that does as reader() does.  The other words are names of functions here.
"""
import importlib
import mmap
import os
import random
import signal
import sqlite3
import struct
import subprocess
import sys
import time
import urllib.request
import zlib

MIB = 1 << 20
# What a reader loads before it is measured, by the first word of its name.
MODULES = {"numpy": "numpy", "lmdb": "lmdb", "mmdb": "maxminddb",
           "shm": "multiprocessing.shared_memory"}


def costs(pid="self"):
    """The bytes of page tables of a process and its page faults so far."""
    with open(f"/proc/{pid}/status") as status:
        tables = next(int(line.split()[1]) for line in status if line.startswith("VmPTE:"))
    with open(f"/proc/{pid}/stat") as stat:
        fields = stat.read().rpartition(")")[2].split()
    return tables * 1024, int(fields[7]) + int(fields[9])


def region_tables(command):
    """Of all regions, if that command is mshare."""
    if not command:
        return 0
    regions = subprocess.run([command[0], "ls", "-bnro", "PGTABLES"], stdout=subprocess.PIPE,
                             text=True, check=True)
    return sum(int(line) for line in regions.stdout.split())


def split(words):
    """What is before a "--", and the command after it."""
    words = list(words)
    if "--" not in words:
        return words, []
    at = words.index("--")
    return words[:at], words[at + 1:]


def program(words, command):
    """How a function here is started, or another program."""
    if words[0] == "exec":
        return command + words[1:]
    return command + [sys.executable, __file__] + words


def reader(name, *arguments):
    """Reads once when it is told to, tells what it has read and what it took, and waits."""
    function = globals()[name]
    family = name.partition("_")[0]
    if family in MODULES:
        importlib.import_module(MODULES[family])
    print("loaded", flush=True)
    sys.stdin.readline()
    tables, faults = costs()
    keep, digest = function(*arguments)
    after = costs()
    print(digest, after[0] - tables, after[1] - faults, flush=True)
    sys.stdin.read()
    del keep


def measure(count, *words):
    """All are loaded at a time, read one after the other, and stay until the last has."""
    words, command = split(words)
    if words[0] != "exec":
        words = ["reader"] + words
    readers, tables, faults, digests = [], 0, 0, set()
    for _ in range(int(count)):
        readers.append(subprocess.Popen(program(words, command), stdin=subprocess.PIPE,
                                        stdout=subprocess.PIPE, text=True))
    for one in readers:
        if one.stdout.readline() != "loaded\n":
            sys.exit("a reader does not begin")
    for one in readers:
        one.stdin.write("\n")
        one.stdin.flush()
        digest, t, f = one.stdout.readline().split()
        digests.add(digest)
        tables += int(t)
        faults += int(f)
    tables += region_tables(command)
    for one in readers:
        one.stdin.close()
        if one.wait():
            sys.exit(f"a reader ended with {one.returncode}")
    if len(digests) != 1:
        sys.exit(f"readers do not agree: {digests}")
    print(digests.pop(), tables, faults)


def file_digest(path):
    """What read(2) says."""
    digest = 0
    with open(path, "rb") as file:
        for part in iter(lambda: file.read(MIB), b""):
            digest = zlib.crc32(part, digest)
    print(digest)


# numpy.memmap

def numpy_make(path, size):
    import numpy
    array = numpy.memmap(path, dtype="u8", mode="w+", shape=(int(size) // 8,))
    array[:] = numpy.arange(len(array), dtype="u8") * 11400714819323198485
    array.flush()


def numpy_write(path, part, parts):
    """One of several writers."""
    import numpy
    array = numpy.memmap(path, dtype="u8", mode="r+")
    length = len(array) // int(parts)
    first = int(part) * length
    array[first:first + length] ^= numpy.uint64(int(part) + 1)
    array.flush()


def numpy_read(path):
    import numpy
    array = numpy.memmap(path, dtype="u8", mode="r")
    return array, zlib.crc32(array)


def numpy_count(path):
    """Counts upwards in all of the file, for ever."""
    import numpy
    array = numpy.memmap(path, dtype="u8", mode="r+")
    print("ready", flush=True)
    while True:
        array += numpy.uint64(1)


def numpy_check(path):
    """Each of three writers that were killed has left one step down, at most."""
    import numpy
    array = numpy.memmap(path, dtype="u8", mode="r")
    with open(path, "rb") as file:
        assert file.read() == array.tobytes()
    assert array[0] > 0
    steps = numpy.diff(array.astype("i8"))
    assert steps.max() <= 0 and steps.sum() >= -3


# LMDB: a map that is larger than the file

def lmdb_open(path, **kwargs):
    import lmdb
    return lmdb.open(path, map_size=1 << 30, max_readers=200, **kwargs)


def lmdb_make(path, count):
    random.seed(1)
    env = lmdb_open(path, sync=False)
    with env.begin(write=True) as txn:
        for i in range(int(count)):
            txn.put(b"%08d" % i, random.randbytes(900))
        txn.put(b"a", b"0")
        txn.put(b"b", b"0")
    env.sync(True)


def lmdb_read(path):
    env = lmdb_open(path, readonly=True)
    digest = 0
    with env.begin() as txn:
        for key, value in txn.cursor():
            digest = zlib.crc32(key + value, digest)
    return env, digest


def lmdb_count(path, writemap=""):
    """Two numbers that change together, and pages that come and go."""
    env = lmdb_open(path, writemap=bool(writemap), sync=False)
    print("ready", flush=True)
    n = 0
    while True:
        n += 1
        with env.begin(write=True) as txn:
            txn.put(b"a", b"%d" % n)
            for i in range(20):
                txn.put(b"%08d" % (n * 37 % 1000 + i), b"%d" % n * 200)
            txn.put(b"b", b"%d" % n)


def lmdb_check(path):
    env = lmdb_open(path)
    with env.begin() as txn:
        assert txn.get(b"a") == txn.get(b"b")
        entries = sum(1 for _ in txn.cursor())
        assert entries == txn.stat()["entries"]
    env.reader_check()


# SQLite with PRAGMA mmap_size

def sqlite_open(path):
    base = sqlite3.connect(path, isolation_level=None, timeout=60)
    assert base.execute("PRAGMA mmap_size = 1073741824").fetchone()[0] > 0
    return base


def sqlite_make(path, mode, count):
    base = sqlite_open(path)
    assert base.execute("PRAGMA journal_mode = " + mode).fetchone()[0] == mode
    base.execute("CREATE TABLE t (n INTEGER PRIMARY KEY, text TEXT)")
    base.execute("CREATE TABLE sums (a INTEGER, b INTEGER)")
    base.execute("INSERT INTO sums VALUES (0, 0)")
    base.execute("BEGIN")
    base.executemany("INSERT INTO t VALUES (?, ?)",
                     ((i, "%08d" % (i * 2654435761 % 100000000) * 120) for i in range(int(count))))
    base.execute("COMMIT")
    base.execute("CREATE INDEX i ON t (substr(text, 1, 8))")


def sqlite_read(path):
    base = sqlite_open(path)
    digest = 0
    for row in base.execute("SELECT n, text FROM t ORDER BY n"):
        digest = zlib.crc32(repr(row).encode(), digest)
    return base, digest


def sqlite_count(path):
    base = sqlite_open(path)
    base.execute("PRAGMA synchronous = OFF")
    print("ready", flush=True)
    n = 0
    while True:
        n += 1
        base.execute("BEGIN IMMEDIATE")
        base.execute("UPDATE sums SET a = a + 1")
        base.execute("UPDATE t SET text = ? WHERE n % 500 = ?", ("%08d" % n * 130, n % 500))
        base.execute("UPDATE sums SET b = b + 1")
        base.execute("COMMIT")


def sqlite_check(path):
    base = sqlite_open(path)
    assert base.execute("SELECT a = b FROM sums").fetchone()[0]
    found = base.execute("PRAGMA integrity_check").fetchall()
    assert found == [("ok",)], found


# MaxMind databases

def mmdb_text(text):
    return bytes([0x40 | len(text)]) + text


def mmdb_make(path, depth):
    """All addresses by their first DEPTH bits: a full tree, with 256 different answers."""
    import numpy
    depth = int(depth)
    nodes = (1 << depth) - 1
    data = b"".join(mmdb_text(b"%08d" % i) for i in range(256))
    tree = numpy.arange(1, 2 * nodes + 1, dtype=">u4")
    tree[nodes - 1:] = nodes + 16 + numpy.arange(nodes + 1) * 2654435761 % 256 * 9
    fields = {
        b"node_count": b"\xc4" + struct.pack(">I", nodes),
        b"record_size": b"\xa1\x20",
        b"ip_version": b"\xa1\x04",
        b"database_type": mmdb_text(b"test"),
        b"languages": b"\x00\x04",
        b"binary_format_major_version": b"\xa1\x02",
        b"binary_format_minor_version": b"\xa1\x00",
        b"build_epoch": b"\x04\x02" + struct.pack(">I", 1700000000),
        b"description": b"\xe0",
    }
    with open(path, "wb") as file:
        file.write(tree.tobytes() + bytes(16) + data + b"\xab\xcd\xefMaxMind.com")
        file.write(bytes([0xe0 | len(fields)]))
        for name, value in fields.items():
            file.write(mmdb_text(name) + value)


def mmdb_forever(path):
    """A reader to be killed."""
    mmdb_read(path)
    print("ready", flush=True)
    while True:
        mmdb_read(path)


def mmdb_read(path):
    import maxminddb
    base = maxminddb.open_database(path, maxminddb.MODE_MMAP_EXT)
    random.seed(2)
    digest = 0
    for _ in range(20000):
        address = ".".join(str(random.randrange(256)) for _ in range(4))
        digest = zlib.crc32(base.get(address).encode(), digest)
    return base, digest


# multiprocessing.shared_memory, by name

def shm_open(name, **kwargs):
    from multiprocessing import resource_tracker, shared_memory
    memory = shared_memory.SharedMemory(name, **kwargs)
    # Python takes it for its own, and removes it when any process ends.
    resource_tracker.unregister("/" + name, "shared_memory")
    return memory


def shm_make(name, size):
    memory = shm_open(name, create=True, size=int(size))
    random.seed(3)
    block = random.randbytes(MIB)
    for at in range(0, int(size), MIB):
        memory.buf[at:at + MIB] = block
    memory.close()


def shm_write(name, part, parts):
    memory = shm_open(name)
    length = memory.size // int(parts)
    first = int(part) * length
    for at in range(first, first + length, mmap.PAGESIZE):
        memory.buf[at] = (memory.buf[at] + int(part) + 1) % 256
    memory.close()


def shm_read(name):
    memory = shm_open(name)
    return memory, zlib.crc32(memory.buf)


def shm_count(name):
    """Writes all pages once more and once more, with a number each time."""
    memory = shm_open(name)
    print("ready", flush=True)
    n = 0
    while True:
        n = n % 255 + 1
        for at in range(0, memory.size, mmap.PAGESIZE):
            memory.buf[at] = n


def shm_check(name):
    """Three writers that were killed have left one border each, at most."""
    memory = shm_open(name)
    pages = memory.buf[::mmap.PAGESIZE].tobytes()
    with open("/dev/shm/" + name, "rb") as file:
        assert file.read()[::mmap.PAGESIZE] == pages
    assert pages[0] and sum(a != b for a, b in zip(pages, pages[1:])) <= 3
    memory.close()


# Squid, whose workers have the objects they cache in one file of POSIX shared memory

def fetch(port, path):
    proxy = urllib.request.ProxyHandler({"http": f"http://127.0.0.1:{port}"})
    return urllib.request.build_opener(proxy).open("http://127.0.0.1:8080/" + path, timeout=120)


def squid_objects(directory, count):
    random.seed(4)
    for i in range(int(count)):
        with open(f"{directory}/{i}", "wb") as file:
            file.write(random.randbytes(4 * MIB))


def squid_fetch(port, count, cached=True):
    """All objects from one worker; it must have them if they are CACHED."""
    digest = 0
    for i in range(int(count)):
        with fetch(port, str(i)) as answer:
            assert not cached or answer.headers["X-Cache"].startswith("HIT"), i
            digest = zlib.crc32(answer.read(), digest)
    return digest


def squid_measure(count, *words):
    """What it takes that the first worker, PORT:PID, gets all objects and the others have them."""
    words, command = split(words)
    workers = [word.split(":") for word in words]
    before = [costs(pid) for _, pid in workers]
    digests = {squid_fetch(port, count, i > 0) for i, (port, _) in enumerate(workers)}
    after = [costs(pid) for _, pid in workers]
    if len(digests) != 1:
        sys.exit(f"workers do not agree: {digests}")
    print(digests.pop(), sum(a[0] - b[0] for a, b in zip(after, before)) + region_tables(command),
          sum(a[1] - b[1] for a, b in zip(after, before)))


def squid_check(count, digest, *ports):
    for port in ports:
        assert squid_fetch(port, count) == int(digest), port


def squid_kill(port, pid):
    """While the worker answers."""
    with fetch(port, "0") as answer:
        assert len(answer.read(MIB // 4)) == MIB // 4
        os.kill(int(pid), signal.SIGKILL)


# Killed in the middle

def kill(rounds, function, *words):
    """Starts a writer and kills it a little later, each time a little later still."""
    words, command = split((function, *words))
    for i in range(int(rounds)):
        writer = subprocess.Popen(program(words, command), stdout=subprocess.PIPE, text=True)
        if writer.stdout.readline() != "ready\n":
            sys.exit("the writer does not begin")
        time.sleep(0.3 + 0.17 * i)
        if writer.poll() is not None:
            sys.exit("the writer has ended")
        writer.send_signal(signal.SIGKILL)
        writer.wait()


def main():
    globals()[sys.argv[1]](*sys.argv[2:])


if __name__ == "__main__":
    main()
