"""Tests in other languages: the examples, and docs/TESTING.md about them, are run as they are."""

import json
import os
import re
import shutil
import sys
from pathlib import Path

import pytest
import yaml

from tests.support.background import Background
from tests.support.documents import Block, blocks_of
from tests.support.other_languages import REPOSITORY, prepared, run
from tests.test_docs_testing import IN_OTHER_LANGUAGES
from tests.test_readme import network_of_its_own

EXAMPLES = REPOSITORY / "examples"
BLOCKS = list(blocks_of(IN_OTHER_LANGUAGES))

# What fills one cache of a toolchain is not built at the same time: as in test_compat.
JAVA, GO, NODE = map(pytest.mark.xdist_group, ("maven", "go", "node"))


def blocks(language: str) -> list[Block]:
    return [block for block in BLOCKS if block.language == language]


def test_every_block_and_every_example_is_run_by_one_of_these_tests() -> None:
    numbers = {"yaml": 2, "javascript": 2, "java": 1, "go": 1, "sh": 2, "text": 2}  # services of yaml: tests/docker
    numbers["http"] = len(BLOCKS) - sum(numbers.values())  # test_docs_testing
    assert {language: len(blocks(language)) for language in {block.language for block in BLOCKS}} == numbers
    readme = (EXAMPLES / "README.md").read_text()
    files = {
        str(path.relative_to(EXAMPLES)) for name in ("java", "go", "javascript") for path in EXAMPLES.glob(f"{name}/*")
    }
    assert files == {"java/RetryTest.java", "go/retry_test.go", "go/go.mod", "go/go.sum", "javascript/retry.test.mjs"}
    assert [name for name in files if not name.startswith("go/go.") and f"({name})" not in readme] == []


@JAVA
@pytest.mark.slow
@pytest.mark.parallel
def test_java(tmp_path: Path) -> None:
    classes = f"{prepared('java')}/libs/*:{REPOSITORY}/compat/java"  # there is what has slf4j be quiet
    test = ("java", "-cp", classes, EXAMPLES / "java" / "RetryTest.java")
    assert run("pykbroker", "test", "--", *test, folder=tmp_path) == "2 tests passed\n"
    (started,) = blocks("java")
    main = "public class Main { public static void main(String[] a) throws Exception {"
    printed = 'System.out.println(bootstrap + " " + http); } }'
    program = f"import java.lang.ProcessBuilder.Redirect;\n{main}\n{started.text}{printed}\n"
    (tmp_path / "Main.java").write_text(program)
    assert_addresses(run("java", "Main.java", folder=tmp_path))


@GO
@pytest.mark.slow
@pytest.mark.parallel
def test_go(tmp_path: Path) -> None:
    prepared("franz-go")
    shutil.copytree(EXAMPLES / "go", tmp_path / "go")
    told = run("pykbroker", "test", "--", "go", "test", "-v", "-count=1", folder=tmp_path / "go")
    assert len(re.findall("^--- PASS: Test", told, re.MULTILINE)) == 3
    (started,) = blocks("go")
    program = 'package main\nimport ("fmt"; "os/exec")\nfunc main() {\n'
    (tmp_path / "main.go").write_text(f"{program}{started.text}fmt.Println(bootstrap, address)\n}}\n")
    assert_addresses(run("go", "run", "main.go", folder=tmp_path))


@NODE
@pytest.mark.slow
@pytest.mark.parallel
def test_javascript(tmp_path: Path) -> None:
    """As the workflow does it."""
    (tmp_path / "node_modules").symlink_to(prepared("kafkajs") / "node_modules")
    shutil.copy(EXAMPLES / "javascript" / "retry.test.mjs", tmp_path)
    (tmp_path / "package.json").write_text(json.dumps({"scripts": {"test": "node --test"}}))
    workflow, _ = blocks("yaml")
    step = yaml.safe_load(workflow.text)["jobs"]["test"]["steps"][-1]["run"]
    told = run("sh", "-c", step, folder=tmp_path)
    assert re.search(r"^# pass 3$", told, re.MULTILINE), told
    shown, started = blocks("javascript")
    assert shown.text in (EXAMPLES / "javascript" / "retry.test.mjs").read_text()
    program = 'import { spawn } from "node:child_process";\nimport { createInterface } from "node:readline";\n'
    (tmp_path / "start.mjs").write_text(f"{program}{started.text}console.log(bootstrap, http);\n")
    assert_addresses(run("node", "start.mjs", folder=tmp_path))


def assert_addresses(printed: str) -> None:
    assert re.fullmatch(r"127\.0\.0\.1:\d+ http://127\.0\.0\.1:\d+\n", printed)


@pytest.mark.slow
@pytest.mark.parallel
def test_second_terminal(tmp_path: Path) -> None:
    """In a network of its own, where the ports of the page are free."""
    if shutil.which("curl") is None:
        pytest.skip("there is no curl here")
    (started, typed), (said, answered) = blocks("sh"), blocks("text")
    (tmp_path / ".curlrc").write_text("silent")  # as it is when it writes to a terminal
    with network_of_its_own(tmp_path) as network:
        if not network:
            pytest.skip("this machine gives no network of its own")
        path = f"{Path(sys.executable).parent}:{os.environ['PATH']}"
        environment = os.environ | {"PATH": path, "PYTHONPATH": str(REPOSITORY)}
        several = (
            "pykbroker",
            "test",
            "--brokers",
            "2",
            "--port",
            "9092",
            "--",
            "sh",
            "-c",
            "echo $PYKBROKER_BOOTSTRAP",
        )
        assert run(*network, *several, folder=tmp_path) == "127.0.0.1:9092,127.0.0.1:9093\n"
        with Background([*network, "sh", "-c", started.text], cwd=tmp_path, environment=environment) as brokers:
            brokers.wait_for(said.text.splitlines()[-1])
            assert "".join(brokers.lines) == said.text
            together = ("sh", "-ec", f"exec 2>&1; {typed.text}")
            assert run(*network, *together, folder=tmp_path, environment={"CURL_HOME": str(tmp_path)}) == answered.text
