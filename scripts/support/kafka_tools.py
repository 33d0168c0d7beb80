"""Apache Kafka's command-line tools, started as its own scripts start them: what their library logs goes to stderr.

Without a configuration, log4j writes to standard output, among the records that a tool prints.
"""

from __future__ import annotations

import shutil
from pathlib import Path

from clients import COMPAT, Unavailable, cache_directory, copy_jars

_TOOLS = COMPAT / "kafka_tools"
_JVM = ("-XX:+UseSerialGC", "-XX:TieredStopAtLevel=1", f"-Dlog4j2.configurationFile={_TOOLS / 'log4j2.xml'}")


def java(main: str, *arguments: str, heap: str = "256m") -> list[str]:
    """Return the command that runs `main` of `org.apache.kafka.tools`. Raises: Unavailable."""
    return ["java", f"-Xmx{heap}", *_JVM, "-cp", f"{tools()}/*", f"org.apache.kafka.tools.{main}", *arguments]


def tools() -> Path:
    """Return the directory with the jars of Kafka's tools, downloaded by Maven the first time.

    Raises: Unavailable where mvn or java is absent or the download fails.
    """
    missing = [name for name in ("mvn", "java") if shutil.which(name) is None]
    if missing:
        raise Unavailable(f"Kafka's tools need {' and '.join(missing)} on the PATH")
    libs = cache_directory() / "kafka-tools"
    if not (libs / ".complete").exists():
        shutil.rmtree(libs, ignore_errors=True)
        libs.mkdir(parents=True)
        copy_jars(_TOOLS / "pom.xml", libs)
        (libs / ".complete").touch()
    return libs
