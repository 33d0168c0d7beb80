"""scripts/chaos tells what a client wrote twice by itself from what a broker took twice."""

from collections.abc import Sequence
from pathlib import Path

import pytest
from chaos_rig.history import Anomaly, Violation
from chaos_rig.sent_again import raised_epochs, sent_again
from support.frames import batch, record

REASON = "ERRSEQ: refused due to skipped sequence numbers caused by previous failed request (NOT_LEADER_FOR_PARTITION)"
DUPLICATE = Violation(Anomaly.DUPLICATE, 0, 1, "1.0 is at 0 already", before=0)


def log_of(folder: Path, producers: Sequence[tuple[int, int]]) -> Path:
    """A partition with a record of each of these producer ids and epochs."""
    data = bytearray()
    for offset, (producer_id, epoch) in enumerate(producers):
        one = bytearray(batch(record(0, b"v"), 1, base_offset=offset, base_timestamp=1, max_timestamp=1))
        one[43:53] = producer_id.to_bytes(8, "big", signed=True) + epoch.to_bytes(2, "big", signed=True)
        data += one
    (folder / f"{0:020}.log").write_bytes(data)
    return folder


def excused(folder: Path, *producers: tuple[int, int], reasons: Sequence[str] = (REASON,)) -> list[Violation]:
    return sent_again([DUPLICATE], {0: log_of(folder, producers)}, {0: len(producers)}, reasons)


def test_record_under_a_later_epoch_of_its_producer_is_the_clients_doing(tmp_path: Path) -> None:
    assert excused(tmp_path, (7, 0), (7, 1)) == [DUPLICATE]


@pytest.mark.parametrize("second", [(7, 0), (8, 1), (-1, -1)], ids=["same epoch", "another producer", "no producer"])
def test_any_other_duplicate_is_the_brokers(tmp_path: Path, second: tuple[int, int]) -> None:
    assert excused(tmp_path, (7, 0), second) == []


@pytest.mark.parametrize("reasons", [[], [REASON, "ERRSEQ: unable to reconstruct the order"]], ids=["none", "another"])
def test_epoch_that_was_raised_for_no_such_reason_excuses_nothing(tmp_path: Path, reasons: Sequence[str]) -> None:
    assert excused(tmp_path, (7, 0), (7, 1), reasons=reasons) == []


def test_reasons_are_read_from_the_clients_logs(tmp_path: Path) -> None:
    (tmp_path / "one.log").write_text("12:00 DRAIN x\n12:01 ERRSEQ y\n")
    (tmp_path / "two.log").write_text("12:02 ERRSEQ z\n")
    assert raised_epochs([tmp_path / "one.log", tmp_path / "two.log"]) == ["12:01 ERRSEQ y", "12:02 ERRSEQ z"]
