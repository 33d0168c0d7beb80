"""The pytest plugin, as projects use it: in pytest runs of their own."""

import subprocess
import sys
from pathlib import Path

import pytest

pytest_plugins = "pytester"

NEVER_LOADED = ("anyio", "asyncio", "attrs", "wire", "pykbroker.embedded", "pykbroker.broker")


# A plugin that says what is left of the logging when all fixtures are gone.
AFTER = """
import logging
import pytest

@pytest.hookimpl(trylast=True)
def pytest_terminal_summary(terminalreporter):
    logger = logging.getLogger("pykbroker")
    state = f"{logging.getLevelName(logger.level)} {logger.propagate} {len(logger.handlers)}"
    terminalreporter.write_line(f"the logger has {state}")
"""


@pytest.fixture
def project(pytester: pytest.Pytester) -> pytest.Pytester:
    pytester.makeini(
        "[pytest]\nkafka_properties =\n    num.partitions = 3\n    message.max.bytes=2000\nkafka_brokers = 2\n"
    )
    return pytester


def run(project: pytest.Pytester, source: str, *options: str) -> pytest.RunResult:
    project.makepyfile(source, after=AFTER)
    return project.runpytest_subprocess("-p", "no:cacheprovider", *options)


def test_fixtures_give_a_broker_for_all_tests_and_a_topic_for_each(project: pytest.Pytester) -> None:
    result = run(
        project,
        """
        from kafka import KafkaConsumer, KafkaProducer

        seen = []

        def test_one(kafka, kafka_topic):
            seen.append((kafka.bootstrap, kafka_topic))
            producer = KafkaProducer(bootstrap_servers=kafka.bootstrap)
            assert producer.partitions_for(kafka_topic) == {0}
            producer.send(kafka_topic, b"v").get(10)
            producer.close()

        def test_two(kafka, kafka_topic):
            seen.append((kafka.bootstrap, kafka_topic))
            assert seen[0][0] == seen[1][0] and seen[0][1] != seen[1][1]

        def test_properties_of_the_ini_file(kafka):
            producer = KafkaProducer(bootstrap_servers=kafka.bootstrap)
            producer.send("made-by-use", b"v").get(10)
            assert producer.partitions_for("made-by-use") == {0, 1, 2}
            producer.close()
        """,
    )
    result.assert_outcomes(passed=3)


@pytest.mark.slow
@pytest.mark.parallel
def test_properties_of_a_fixture_of_the_project_take_the_place_of_the_ini_files(project: pytest.Pytester) -> None:
    result = run(
        project,
        """
        import pytest
        from kafka import KafkaProducer

        @pytest.fixture(scope="session")
        def kafka_properties():
            return {"num.partitions": 4}

        @pytest.mark.kafka_cluster(brokers=1)
        def test_both(kafka, kafka_cluster):
            for one in (kafka, kafka_cluster):
                producer = KafkaProducer(bootstrap_servers=one.bootstrap)
                producer.send("made-by-use", b"v").get(10)
                assert len(producer.partitions_for("made-by-use")) == 4
                producer.close()
        """,
    )
    result.assert_outcomes(passed=1)


@pytest.mark.slow
@pytest.mark.parallel
def test_cluster_has_as_many_brokers_as_the_ini_file_or_the_test_says(project: pytest.Pytester) -> None:
    result = run(
        project,
        """
        import pytest

        def test_ini(kafka_cluster):
            assert kafka_cluster.brokers == [1, 2]

        @pytest.mark.kafka_cluster(brokers=3, properties={"num.partitions": 5})
        def test_marker(kafka_cluster):
            assert kafka_cluster.brokers == [1, 2, 3]
            kafka_cluster.stop(3)
            assert kafka_cluster.brokers == [1, 2]
        """,
        "--strict-markers",
    )
    result.assert_outcomes(passed=2)


@pytest.mark.slow
@pytest.mark.parallel
def test_failed_test_is_reported_with_the_log_of_its_time_and_caplog_is_its_own(project: pytest.Pytester) -> None:
    result = run(
        project,
        """
        import logging

        def test_before(kafka):
            kafka.create_topic("of-before")
            logging.getLogger("pykbroker.test").warning("said before")

        def test_fails(kafka, caplog):
            logging.getLogger("pykbroker.test").info("said meanwhile")
            logging.getLogger("theirs").warning("said by the test")
            assert [record.getMessage() for record in caplog.records] == ["said by the test"]
            assert False

        def test_passes(kafka, caplog):
            logging.getLogger("pykbroker.test").info("said after")
            logging.getLogger("theirs").warning("said by the test")
            assert [record.getMessage() for record in caplog.records] == ["said by the test"]

        def test_fails_without(): 
            assert False
        """,
    )
    result.assert_outcomes(passed=2, failed=2)
    output = result.stdout.str()
    assert output.count("pykbroker log") == 1
    assert output.count("said meanwhile\n") + output.count("said meanwhile (") == 1  # and in the source that is shown
    assert "said before" not in output
    assert "said after" not in output


@pytest.mark.slow
@pytest.mark.parallel
def test_report_of_a_failed_test_says_what_happened_in_the_broker(project: pytest.Pytester) -> None:
    result = run(
        project,
        """
        from kafka import KafkaConsumer, KafkaProducer

        def test_fails(kafka, kafka_topic):
            producer = KafkaProducer(bootstrap_servers=kafka.bootstrap, client_id="shop")
            with kafka.faults(api="Produce", error="NOT_LEADER_OR_FOLLOWER", times=1):
                producer.send(kafka_topic, b"v").get(10)
            kafka.faults.move_leader(kafka_topic)
            consumer = KafkaConsumer(
                kafka_topic, bootstrap_servers=kafka.bootstrap, group_id="g", auto_offset_reset="earliest"
            )
            next(consumer)
            kafka.restart()
            assert False
        """,
    )
    result.assert_outcomes(failed=1)
    result.stdout.fnmatch_lines(
        [
            "*- pykbroker log -*",
            "*topics (partitions) created: topic-* (1)*",
            "*Produce v* of client 'shop' at broker 1 meets the fault * error='NOT_LEADER_OR_FOLLOWER' (hit 1)*",
            "*on order: broker 1 leads topic-*",
            "*group 'g': rebalance after generation 0*",
            "*group 'g': generation 1, members: 1*",
            "*broker 1 has stopped*",
            "*broker 1 accepts clients on 127.0.0.1:*",
        ]
    )


@pytest.mark.slow
@pytest.mark.parallel
def test_marker_that_says_nonsense_is_told_in_a_line(project: pytest.Pytester) -> None:
    result = run(
        project,
        """
        import pytest

        @pytest.mark.kafka_cluster(propertys={"num.partitions": 5})
        def test_it(kafka_cluster): pass
        """,
    )
    result.assert_outcomes(errors=1)
    result.stdout.fnmatch_lines("*UsageError: kafka_cluster(brokers=3, properties={}): *'propertys'*")


@pytest.mark.slow
@pytest.mark.parallel
def test_start_that_fails_is_an_error_of_the_fixture(pytester: pytest.Pytester) -> None:
    pytester.makeini("[pytest]\nkafka_properties = num.partitions=none\n")
    result = run(pytester, "def test_it(kafka): pass")
    result.assert_outcomes(errors=1)
    result.stdout.fnmatch_lines("*ConfigError*num.partitions*")
    pytester.makeini("[pytest]\nkafka_properties = num.partitions\n")
    result = run(pytester, "def test_it(kafka): pass")
    result.stdout.fnmatch_lines("*'num.partitions' is not name=value*")


@pytest.mark.slow
@pytest.mark.parallel
def test_workers_of_xdist_have_brokers_of_their_own(project: pytest.Pytester) -> None:
    result = run(
        project,
        """
        import pytest

        @pytest.mark.parametrize("index", range(4))
        def test_one(kafka, kafka_topic, worker_id, index):
            with open(f"seen-{worker_id}", "a") as file:
                file.write(f"{kafka.bootstrap} {kafka.data_dir}\\n")
        """,
        "-n",
        "2",
        "--dist",
        "each",
    )
    result.assert_outcomes(passed=8)
    seen = [set(path.read_text().splitlines()) for path in project.path.glob("seen-gw*")]
    assert [len(of_worker) for of_worker in seen] == [1, 1], "one broker for all tests of a worker"
    (first,), (second,) = (of_worker for of_worker in seen)
    assert set(first.split()).isdisjoint(second.split())


def test_suite_that_does_not_use_it_pays_for_next_to_nothing(tmp_path: Path) -> None:
    loaded = f"sorted(name for name in {NEVER_LOADED!r} if name in set(sys.modules) - before)"
    code = f"import pytest, sys; before = set(sys.modules); import pykbroker.pytest_plugin; print({loaded})"
    done = subprocess.run([sys.executable, "-c", code], cwd=tmp_path, capture_output=True, text=True, check=True)
    assert done.stdout.strip() == "[]"


@pytest.mark.slow
@pytest.mark.parallel
def test_log_is_kept_until_the_last_broker_is_gone_and_the_logger_is_as_before(project: pytest.Pytester) -> None:
    """A cluster that was there before the session's broker is gone before it."""
    result = run(
        project,
        """
        import logging

        logging.getLogger("pykbroker").setLevel(logging.ERROR)

        def test_both(kafka_cluster, request):
            request.getfixturevalue("kafka")

        def test_fails(kafka, caplog):
            logging.getLogger("pykbroker.test").info("said meanwhile")
            assert caplog.records == []
            assert False
        """,
        "-p",
        "after",
    )
    result.assert_outcomes(passed=1, failed=1)
    assert "said meanwhile" in result.stdout.str()
    result.stdout.fnmatch_lines("*the logger has ERROR True 0*")
