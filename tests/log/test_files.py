"""Slices of files: what is in the page cache and what is not."""

import os
from pathlib import Path

import pytest

from pykbroker.log.files import FileSlice, OpenFile
from tests.log.support import forget_pages, skip_unless_pages_can_be_forgotten

SIZE = 4 * 1024 * 1024


def written(path: Path) -> OpenFile:
    file = OpenFile(os.open(path / "file", os.O_RDWR | os.O_CREAT, 0o644))
    os.pwrite(file.fd, os.urandom(SIZE), 0)
    return file


def test_what_was_just_written_is_resident(tmp_path: Path) -> None:
    file = written(tmp_path)
    assert FileSlice(file, 0, SIZE).is_resident()
    assert FileSlice(file, SIZE - 1, 1).is_resident()


@pytest.mark.parametrize(("position", "length"), [(0, SIZE), (0, 1), (SIZE - 1, 1), (5000, 300_000)])
def test_what_was_forgotten_is_resident_once_it_was_read(disk_path: Path, position: int, length: int) -> None:
    skip_unless_pages_can_be_forgotten(disk_path)
    file = written(disk_path)
    forget_pages(file.fd)
    piece = FileSlice(file, position, length)
    assert not piece.is_resident()
    assert len(piece.read()) == length
    assert piece.is_resident()


def test_slice_with_one_cold_end_is_not_resident(disk_path: Path) -> None:
    skip_unless_pages_can_be_forgotten(disk_path)
    file = written(disk_path)
    forget_pages(file.fd)
    FileSlice(file, 0, 4096).read()
    assert FileSlice(file, 0, 4096).is_resident()
    assert not FileSlice(file, 0, SIZE).is_resident()


def test_rest_of_a_slice_is_what_was_not_sent(tmp_path: Path) -> None:
    piece = FileSlice(written(tmp_path), 100, 1000)
    assert piece.read()[300:] == piece.after(300).read()
    assert len(piece.after(1000)) == 0
