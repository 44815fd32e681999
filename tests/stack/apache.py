"""Apache Kafka from its jars: one node that is broker and controller (KRaft), on loopback.

Maven fetches the jars once, by `tests/kafka/pom.xml`, into `tests/kafka/libs`. Kafka runs as its own start script would run it,
but with small memory, no fsync worth mentioning, and no delay before a group's first rebalance.
"""

from __future__ import annotations

import shutil
import subprocess
from pathlib import Path
from typing import TYPE_CHECKING

import pytest

from relay.dev import child, ports
from relay.dev.server import Server

if TYPE_CHECKING:
    from collections.abc import Mapping

POM = Path(__file__).parents[1] / "kafka" / "pom.xml"
LIBRARIES = POM.parent / "libs"
CLUSTER_ID = "MkU3OEVBNTcwNTJENDM2Qg"  # any 16 bytes in base64: a fresh cluster each time
CONFIGURATION = "server.properties"
ENVIRONMENT = {"PATH": "/usr/bin:/bin", "LC_ALL": "C.UTF-8"}
JAVA = ("-Xmx512m", "-XX:+UseSerialGC", "-XX:TieredStopAtLevel=1", "-Dlog4j2.level=WARN")


def fetch_libraries() -> Path:
    """The folder with Kafka's jars; fetched when it is missing or older than the pom."""
    done = LIBRARIES / ".complete"
    if done.exists() and done.stat().st_mtime >= POM.stat().st_mtime:
        return LIBRARIES
    for program in ("mvn", "java"):
        if shutil.which(program) is None:
            pytest.exit(f"--stack=apache needs {program}: apt-get install maven default-jre-headless", returncode=2)
    shutil.rmtree(LIBRARIES, ignore_errors=True)
    argv = ["mvn", "-q", "-B", "-f", str(POM), "dependency:copy-dependencies", f"-DoutputDirectory={LIBRARIES}"]
    fetched = subprocess.run(argv, check=False, capture_output=True, text=True, stdin=subprocess.DEVNULL)
    if fetched.returncode != 0:
        pytest.exit(f"Kafka's jars could not be fetched:\n{fetched.stdout[-2000:]}", returncode=2)
    done.touch()
    return LIBRARIES


def start(folder: Path, libraries: Path, *, port: int = 0, advertised: str = "") -> Server:
    """Format the storage and start Kafka. Wait for `ready` before use: it listens only once it has registered.

    `advertised` is the address that clients are told, where it is not the broker's own: a proxy's.
    """
    folder.mkdir()
    port = port or ports.free_port()
    configuration = folder / CONFIGURATION
    settings = _settings(f"{ports.HOST}:{port}", controller=f"{ports.HOST}:{ports.free_port()}", folder=folder)
    if advertised:
        settings = {**settings, "advertised.listeners": f"PLAINTEXT://{advertised}"}
    configuration.write_text("".join(f"{name}={value}\n" for name, value in settings.items()))
    format_storage(folder, libraries)
    argv = [*_java(libraries), "kafka.Kafka", str(configuration)]
    return Server(
        lambda: child.spawn("Apache Kafka", argv, cwd=folder, log=folder / "kafka.log", env=ENVIRONMENT), port
    )


def format_storage(folder: Path, libraries: Path) -> None:
    """Make the storage of a Kafka that does not run a fresh one: whatever there was is gone."""
    shutil.rmtree(folder / "data", ignore_errors=True)
    argv = [*_java(libraries), "kafka.tools.StorageTool", "format", "-t", CLUSTER_ID, "-c"]
    argv.append(str(folder / CONFIGURATION))
    subprocess.run(argv, check=True, capture_output=True, stdin=subprocess.DEVNULL)


def _java(libraries: Path) -> list[str]:
    return [shutil.which("java") or "java", *JAVA, "-cp", f"{libraries}/*"]


def _settings(address: str, *, controller: str, folder: Path) -> Mapping[str, str]:
    return {
        "process.roles": "broker,controller",
        "node.id": "1",
        "controller.quorum.voters": f"1@{controller}",
        "controller.listener.names": "CONTROLLER",
        "listeners": f"PLAINTEXT://{address},CONTROLLER://{controller}",
        "advertised.listeners": f"PLAINTEXT://{address}",
        "listener.security.protocol.map": "PLAINTEXT:PLAINTEXT,CONTROLLER:PLAINTEXT",
        "log.dirs": str(folder / "data"),
        "num.partitions": "32",
        "offsets.topic.replication.factor": "1",
        "offsets.topic.num.partitions": "1",
        "share.coordinator.state.topic.replication.factor": "1",
        "transaction.state.log.replication.factor": "1",
        "transaction.state.log.min.isr": "1",
        "group.initial.rebalance.delay.ms": "0",
        "group.min.session.timeout.ms": "500",
        "log.index.size.max.bytes": "65536",
    }
