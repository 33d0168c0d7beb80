"""`python -m wire codec Fetch 13 [--response]`: print the source that decodes and encodes a message."""

import argparse
import sys

from wire import codec
from wire.catalog import API_BY_NAME, request_class, response_class
from wire.errors import ProtocolError


def main(arguments: list[str] | None = None) -> int:
    parser = argparse.ArgumentParser(prog="python -m wire", description="Look into the Kafka protocol.")
    commands = parser.add_subparsers(dest="command", required=True)
    show = commands.add_parser("codec", help="print the compiled source of a message at a version")
    show.add_argument("api", help="name of the API, such as Fetch", metavar="API")
    show.add_argument("version", type=int)
    show.add_argument("--response", action="store_true", help="of the response instead of the request")
    parsed = parser.parse_args(arguments)
    names = {name.lower(): api for name, api in API_BY_NAME.items()}
    api = names.get(parsed.api.lower())
    if api is None:
        parser.error(f"no API is called {parsed.api}")
    message = (response_class if parsed.response else request_class)(api.key)
    try:
        print(codec.source(message, parsed.version), end="")
    except ProtocolError as error:
        parser.error(str(error))
    return 0


if __name__ == "__main__":
    sys.exit(main())
