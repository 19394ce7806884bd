"""Ray's own microbenchmark, unchanged; prints what it prints. About 12 minutes; TESTS_TO_RUN=PATTERN picks some of it.

Needs root: it runs in a network of its own that has only `lo`, because Ray binds the host's address.
"""

import argparse
import ctypes
import fcntl
import os
import pathlib
import socket
import struct
import subprocess
import sys
import tempfile

CLONE_NEWNET = 0x40000000
SIOCSIFFLAGS = 0x8914
IFF_UP_AND_RUNNING = 0x41
LIMIT_S = 1800


def enter_network_of_its_own():
    libc = ctypes.CDLL(None, use_errno=True)
    if libc.unshare(CLONE_NEWNET) != 0:
        sys.exit(f"no network of its own: {os.strerror(ctypes.get_errno())}")
    request = struct.pack("16sh14x", b"lo", IFF_UP_AND_RUNNING)
    with socket.socket() as any_socket:
        fcntl.ioctl(any_socket, SIOCSIFFLAGS, request)


def main():
    parser = argparse.ArgumentParser()
    parser.add_argument("--threads", help="not used: Ray takes what the machine has")
    parser.parse_args()
    enter_network_of_its_own()
    ray = pathlib.Path(sys.executable).with_name("ray")
    with tempfile.TemporaryDirectory(prefix="ray") as folder:
        quiet = {"RAY_USAGE_STATS_ENABLED": "0", "RAY_DEDUP_LOGS": "0", "PYTHONWARNINGS": "ignore"}
        environment = os.environ | quiet | {"RAY_AUTH_MODE": "disabled", "RAY_TMPDIR": folder}
        subprocess.run([ray, "microbenchmark"], env=environment, timeout=LIMIT_S, check=True)


if __name__ == "__main__":
    main()
