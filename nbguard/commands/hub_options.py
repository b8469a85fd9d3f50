"""The options of the commands around the Hub, checksums and signatures, as the command line shows them.

    commands = argparse.ArgumentParser(prog="nbguard").add_subparsers()
    add_verify(commands)

Nothing but argparse is imported here, as in `options`.
"""

from __future__ import annotations

import argparse

from nbguard.commands.options import Parsers

_VERIFY_HELP = """\
exit code:
  0    everything is what it should be, and nothing is beyond it
  1    something is changed, missing or beyond, or a signature does not hold
  2    it could not be checked: there is nothing to compare with, or it cannot be read
"""
_WRITE_HELP = """\
exit code:
  0    written
  2    not written
"""


def add_verify(commands: Parsers) -> None:
    """`verify` and its options."""
    parser = commands.add_parser(
        "verify",
        help="compare files with checksums, a signature, or what the Hub said of them",
        description="Compare a folder, a file or a Hub repository in the cache with its SHA-256 checksums or with an"
        " OpenSSF model signature. Without options: with the checksums.sha256 in the folder (or FILE.sha256), and a"
        " repository with the digests by which the cache knows its files. Nothing is looked up.",
        epilog=_VERIFY_HELP,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    fill_verify(parser)


def fill_verify(parser: argparse.ArgumentParser) -> None:
    """The options of `verify`; `%safemodel verify` has the same."""
    parser.add_argument("target", metavar="TARGET", help="a folder, a file, or org/name[@revision] in the Hub's cache")
    parser.add_argument(
        "--checksums", metavar="FILE", help="as sha256sum writes them (GNU, BSD), or JSON {path: hex}; names are"
        " relative to the folder",
    )  # fmt: skip
    parser.add_argument("--signature", metavar="FILE", help="default: model.sig in the folder, or TARGET.sig")
    parser.add_argument("--public-key", metavar="FILE", help="PEM of the key that has to have signed")
    parser.add_argument(
        "--certificate-chain", metavar="FILE", action="append", help="PEM of the root, and of what lies between, that"
        " the signer's certificate has to lead to; can be given several times",
    )  # fmt: skip
    parser.add_argument("--identity", metavar="WHO", help="who has to have signed through Sigstore")
    parser.add_argument("--identity-provider", metavar="URL", help="who has to have vouched for that identity")
    parser.add_argument("--trust-config", metavar="FILE", help="Sigstore's trust root as JSON")
    parser.add_argument(
        "--online", action="store_true", help="fetch Sigstore's public trust root where --trust-config is not given"
    )
    parser.add_argument(
        "--allow-extra", action="store_true", help="files that nothing vouches for are listed and do not count"
    )
    parser.add_argument(
        "--allow", metavar="NAME", action="append", help="this one may be there although nothing vouches for it"
        " (.gitattributes, .git/); can be given several times",
    )  # fmt: skip
    parser.add_argument("--revision", metavar="REV", help="branch, tag or commit of a Hub repository")
    parser.add_argument("--format", choices=("text", "json"), default="text", help="default: text")


def add_checksums(commands: Parsers) -> None:
    """`checksums` and its options."""
    parser = commands.add_parser(
        "checksums",
        help="write the SHA-256 of a folder's files for sha256sum -c and nbguard verify",
        description="Write the SHA-256 of every file of a folder into FOLDER/checksums.sha256, which 'sha256sum -c'"
        " (in the folder) and 'nbguard verify' read.",
        epilog=_WRITE_HELP,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    parser.add_argument("folder", metavar="FOLDER", help="what lies in it and below")
    parser.add_argument("--output", metavar="FILE", help="write there instead; names stay relative to the folder")
    parser.add_argument("--overwrite", action="store_true", help="replace a file that is there already")


def add_sign(commands: Parsers) -> None:
    """`sign` and its options."""
    parser = commands.add_parser(
        "sign",
        help="sign a model's folder with a key (OpenSSF Model Signing)",
        description="Sign every file of a folder with an elliptic-curve key. 'nbguard verify' and the model_signing"
        " tool check it. The password of a key is asked for, or taken from NBGUARD_KEY_PASSWORD.",
        epilog=_WRITE_HELP,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    parser.add_argument("folder", metavar="FOLDER", help="the model's folder")
    parser.add_argument("--private-key", metavar="FILE", required=True, help="PEM; P-256, P-384 or P-521")
    parser.add_argument("--certificate", metavar="FILE", help="PEM of a certificate for the key")
    parser.add_argument(
        "--certificate-chain", metavar="FILE", action="append", help="PEM of what lies between it and the root"
    )
    parser.add_argument("--signature", metavar="FILE", help="default: model.sig in the folder")
    parser.add_argument("--overwrite", action="store_true", help="replace a signature that is there already")
