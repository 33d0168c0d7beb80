"""CRC-32C (Castagnoli), which guards every record batch and every producer snapshot.

The `crc32c` package uses the processor's instruction and takes any buffer without a copy; `crcmod` serves where no
wheel of it exists.
"""

from collections.abc import Callable

from wire.schema import RecordBytes

crc32c: Callable[..., int]

try:
    from crc32c import crc32c
except ImportError:
    from crcmod.predefined import mkPredefinedCrcFun

    _crcmod_crc32c = mkPredefinedCrcFun("crc-32c")

    def crc32c(data: RecordBytes, value: int = 0) -> int:
        """Return the checksum of `data`, continuing from `value`, the checksum of what came before."""
        return int(_crcmod_crc32c(bytes(data), value))
