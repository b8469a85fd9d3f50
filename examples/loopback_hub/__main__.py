"""`python -m loopback_hub`: serve the demonstration repositories on 127.0.0.1 until interrupted."""

from __future__ import annotations

import argparse
import signal
import socket
import sys
import tempfile
from pathlib import Path

from loopback_hub.catalogue import REPOSITORIES, introduce, offer
from loopback_hub.server import Server
from loopback_hub.store import Store


def main(argv: list[str] | None = None) -> int:
    parser = argparse.ArgumentParser(prog="loopback_hub", description=__doc__)
    parser.add_argument("--port", type=int, default=0, help="on 127.0.0.1; a free one by default")
    parser.add_argument(
        "--root", type=Path, help="serve this folder as it is, instead of the demonstration repositories"
    )
    parser.add_argument("--fd", type=int, help=argparse.SUPPRESS)
    arguments = parser.parse_args(argv)

    signal.signal(signal.SIGTERM, signal.default_int_handler)
    with tempfile.TemporaryDirectory(prefix="loopback-hub-") as scratch:
        try:
            store = Store(arguments.root or Path(scratch))
            if arguments.root is None:
                for repo_id in REPOSITORIES:
                    offer(store, repo_id)
                introduce(store)
            bound = socket.socket(fileno=arguments.fd) if arguments.fd is not None else None
            try:
                server = Server(store, arguments.port, bound=bound)
            except OSError as problem:
                print(f"Cannot listen on 127.0.0.1:{arguments.port}: {problem.strerror}.", file=sys.stderr)
                return 2
            print(f"The loopback Hub listens on {server.address}", flush=True)
            if arguments.root is None:
                print("\n".join(f"  {name:28} {what}" for name, (what, _) in REPOSITORIES.items()), flush=True)
            with server:
                server.serve_forever()
        except KeyboardInterrupt:
            return 0
    return 0


if __name__ == "__main__":
    sys.exit(main())
