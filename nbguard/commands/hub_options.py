"""The options of the commands that work with the Hub.

commands = argparse.ArgumentParser(prog="nbguard").add_subparsers()
add_download(commands)
"""

from __future__ import annotations

import argparse

from nbguard.commands.options import Parsers

_DOWNLOAD_HELP = """\
exit code:
  0    promoted; with --dry-run: looked at, and nothing stands against it
  1    refused, because of what was found
  2    it could not be done
  130  interrupted; calling again goes on from there
"""


def add_download(commands: Parsers) -> None:
    """`download` and its options."""
    fill_download(
        commands.add_parser(
            "download",
            help="download a Hub repository through a quarantine, scanned before anything can load it",
            description="Download a Hub repository in six steps: metadata, list of files, quarantine, digests, scan,"
            " promotion into the Hub's cache or a folder. Without options only safetensors, configurations, tokenizers"
            " and texts are fetched.",
            epilog=_DOWNLOAD_HELP,
            formatter_class=argparse.RawDescriptionHelpFormatter,
        )
    )


def fill_download(parser: argparse.ArgumentParser) -> None:
    """The options of `download`."""
    parser.add_argument("target", metavar="REPOSITORY", help="org/name, org/name@revision or datasets/org/name")
    parser.add_argument("--revision", metavar="REV", help="branch, tag or commit")
    parser.add_argument("--to", metavar="FOLDER", help="plain files there, instead of the Hub's cache")
    parser.add_argument("--include", metavar="GLOB", action="append", default=[], help="only what matches; repeatable")
    parser.add_argument("--exclude", metavar="GLOB", action="append", default=[], help="not what matches; repeatable")
    parser.add_argument("--pickles", action="store_true", help="pickles and weights in other formats too")
    parser.add_argument("--code", action="store_true", help="the repository's code too")
    parser.add_argument("--dry-run", action="store_true", help="only the first two steps; nothing is written")
    parser.add_argument(
        "--yes", action="store_true", help="accept what a person should look at first (verdict review); never danger"
    )
    parser.add_argument("--format", choices=("text", "json"), default="text", help="default: text")
