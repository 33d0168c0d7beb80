"""Which version this is: as it was installed, so that pyproject.toml alone says it."""

import functools


@functools.cache
def version() -> str:
    """Return the version; "0" where the sources were never installed."""
    from importlib import metadata

    try:
        return metadata.version("pykbroker")
    except metadata.PackageNotFoundError:
        return "0"
