"""Files in the format of Java's Properties, as server.properties is.

Rules: a line is `name = value`, `name: value` or `name value`; `#` and `!` start comments; a backslash at the end of a
line goes on with the next one; of two lines with one name the later counts.
Source: java.util.Properties.
"""

import re
from pathlib import Path

from pykbroker.config_tables.definition import ConfigError


def read_properties(path: Path) -> dict[str, str]:
    """Read a file in the format of Java's Properties. Raises: ConfigError."""
    try:
        return parse_properties(path.read_text(encoding="utf-8"))
    except (OSError, UnicodeDecodeError) as error:
        reason = error.strerror if isinstance(error, OSError) else str(error)
        raise ConfigError(f"cannot read {path}: {reason}") from None


_ESCAPES = {"t": "\t", "n": "\n", "r": "\r", "f": "\f"}
_ESCAPE = re.compile(r"\\(u[0-9A-Fa-f]{4}|.)", re.DOTALL)
_KEY = re.compile(r"((?:\\.|[^\\=:\s])*)\s*(?:[=:]\s*)?(.*)", re.DOTALL)


def parse_properties(text: str) -> dict[str, str]:
    """Parse lines of `name = value`: `#` and `!` start comments, a backslash at the end goes on with the next line."""
    properties = {}
    logical = ""
    for line in [*re.split(r"\r\n|\r|\n", text), ""]:
        stripped = line.lstrip(" \t\f")
        if not logical and stripped[:1] in ("#", "!"):
            continue
        logical += stripped
        slashes = len(logical) - len(logical.rstrip("\\"))
        if slashes % 2:
            logical = logical[:-1]
            if line:
                continue
        if logical:
            match = _KEY.fullmatch(logical)
            assert match is not None
            properties[_unescape(match[1])] = _unescape(match[2])
        logical = ""
    return properties


def _unescape(text: str) -> str:
    def character(match: re.Match[str]) -> str:
        code = match[1]
        return chr(int(code[1:], 16)) if len(code) == 5 else _ESCAPES.get(code, code)

    return _ESCAPE.sub(character, text) if "\\" in text else text
