"""The options of the commands around the Hub: download, checksums, signatures, the lockfile.

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


_LOCK_HELP = """\
exit code:
  0  locked; with --check: everything is as locked; with --upgrade: nothing is left to decide
  1  something was not accepted, and is not locked; with --check: something is not as locked;
     with --upgrade: there is a difference that was not accepted
  2  it could not be done, or not be checked; a target is not there
"""


def add_lock(commands: Parsers) -> None:
    """`lock` and its options."""
    parser = commands.add_parser(
        "lock",
        help="write, check or upgrade nbguard.lock: exactly what may load where nobody can be asked",
        description="Write down, by commit and digest, what a notebook or script loads. To lock is to accept: what is"
        " safe is locked, what needs a look is locked with --reason or after a question in the terminal.",
        epilog=_LOCK_HELP,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    fill_lock(parser)


def fill_lock(parser: argparse.ArgumentParser) -> None:
    """The options of `lock`, for both faces."""
    parser.add_argument(
        "targets",
        nargs="*",
        metavar="TARGET",
        help="a file, a folder, or a Hub repository (org/name, hf://org/name@revision); without any, everything that"
        " --notebook names, or that is in the lock already",
    )
    parser.add_argument("--notebook", metavar="FILE.ipynb", help="lock what this notebook loads, beside it")
    parser.add_argument("--lock", metavar="FILE", help="the lock (default: beside the notebook, or here)")
    parser.add_argument("--revision", metavar="REV", help="branch, tag or commit of a Hub repository")
    acts = parser.add_mutually_exclusive_group()
    acts.add_argument("--check", action="store_true", help="write nothing, compare; what differs is named")
    acts.add_argument(
        "--upgrade", action="store_true", help="show what is different at the commit that the branch has now, and ask"
    )
    parser.add_argument("--yes", action="store_true", help="--upgrade: accept what is safe without a question")
    parser.add_argument("--reason", default="", help="why, for whoever reviews the lock; accepts what needs a look")
    parser.add_argument(
        "--i-accept-danger", action="store_true", help="lock even what is dangerous, where the policy counts that"
    )
    parser.add_argument("--format", choices=("text", "json"), default="text", help="default: text")


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
        "--yes",
        action="store_true",
        help="accept what a person should look at first (verdict review); never danger,"
        " nor a name that was made to be taken for another one's",
    )
    parser.add_argument("--format", choices=("text", "json"), default="text", help="default: text")
