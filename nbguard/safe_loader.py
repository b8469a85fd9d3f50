"""Load a transformers model the safe way: safetensors, and none of the repository's own code.

model = nbguard.load_transformers("org/name", "AutoModelForSequenceClassification")
model = nbguard.load_transformers("org/pickles-only", convert=True)     # converted first, in isolation
"""

from __future__ import annotations

import os
from collections.abc import Callable, Sequence
from typing import Any

from nbguard.artifact.checkpoints import TORCH_WEIGHTS, Selection, choose
from nbguard.errors import LoadBlocked


class UnsafeModelError(LoadBlocked):
    """The model cannot be loaded the safe way: it has no safetensors weights, or needs code of its own."""


def load_transformers(
    model_id: str | os.PathLike[str],
    model_class: str | type = "AutoModel",
    *,
    convert: bool = False,
    **kwargs: Any,
) -> Any:
    """`from_pretrained` with safetensors only, guarded whether or not nbguard is switched on.

    Args:
        model_id: a Hub repository (`org/name`) or a folder.
        model_class: name of a class of transformers with `from_pretrained`, or the class.
        convert: where there are no safetensors weights, convert the pickled ones in an isolated process and load those.
        **kwargs: for `from_pretrained`. `use_safetensors` is True unless it is given; with `use_safetensors=False` the
            pickles are scanned and asked about as in any guarded load.

    Raises:
        UnsafeModelError: no safetensors weights (and `convert` is False, or they are not pure data), or
            `trust_remote_code=True`.
        LoadBlocked: the scan, the policy or the person said no.
        TargetError: there is no such repository or folder.
        ValueError: transformers has no such class.
    """
    from nbguard.hooks.guarding import guard
    from nbguard.hooks.walk import note

    source = os.fspath(model_id)
    if kwargs.get("trust_remote_code"):
        note("load.refused", loader="nbguard.load_transformers", target=source, why="trust_remote_code")
        raise UnsafeModelError(
            f"nbguard.load_transformers runs no code of a repository, and {source} was asked for with"
            " trust_remote_code=True. If it needs that code and you have looked at it, call from_pretrained yourself:"
            " it is scanned, and you are asked."
        )
    kwargs["trust_remote_code"] = False
    loader = _class(model_class)
    with guard():
        from nbguard.hooks.loaders.transformers_ import selection_of

        selection = selection_of(loader, kwargs)
        if selection.weights and kwargs.setdefault("use_safetensors", True):
            present, commit = _weights(source, kwargs, selection)
            if commit is not None:
                kwargs["revision"] = commit
            if present:
                source = _converted(source, commit, present, convert=convert)
                if commit is not None:
                    kwargs.pop("revision")
        return loader.from_pretrained(source, **kwargs)


def _class(named: str | type) -> Any:
    if isinstance(named, type):
        found: Any = named
    else:
        import transformers

        found = getattr(transformers, named, None) if named.isidentifier() and not named.startswith("_") else None
    if not isinstance(found, type) or not callable(getattr(found, "from_pretrained", None)):
        raise ValueError(f"transformers has no class {named!r} with from_pretrained.")
    return found


def _weights(source: str, kwargs: dict[str, Any], selection: Selection) -> tuple[tuple[str, ...], str | None]:
    """(names of pickled weights where there are no safetensors ones, else nothing; the commit of a repository)."""
    from nbguard.artifact.folders import names_below, read_small
    from nbguard.artifact.hub import list_repo
    from nbguard.hooks.loaders.arriving import Commit
    from nbguard.hooks.loaders.calling import HubOptions

    commit: str | None = None
    if os.path.isdir(source):
        root = os.path.realpath(source)
        names: tuple[str, ...] = tuple(names_below(root))
        choice = choose(names, lambda name: read_small(root, name, names), selection)
    else:
        options = HubOptions.of(kwargs)
        listing = list_repo(
            source,
            revision=kwargs.get("revision"),
            offline=options.local_files_only,
            token=options.token,
            cache_dir=options.cache_dir,
            remember=False,
        )
        names, commit = tuple(sorted(listing.sizes)), listing.commit
        choice = choose(names, Commit(listing, options).read_small, selection)
    if any(name.endswith(".safetensors") for name in choice.weights):
        return (), commit
    return tuple(n for n in names if n.lower().endswith(TORCH_WEIGHTS)) or ("no weights at all",), commit


def _converted(source: str, commit: str | None, present: tuple[str, ...], *, convert: bool) -> str:
    """The folder with converted weights. Raises UnsafeModelError where that is not wanted or cannot be."""
    from nbguard.hooks.walk import note
    from nbguard.report.escape import terminal

    named = ", ".join(terminal(name, 120) for name in present[:3]) + (
        f" and {len(present) - 3} more" if len(present) > 3 else ""
    )
    at = f"@{commit}" if commit is not None else ""
    if not convert:
        note("load.refused", loader="nbguard.load_transformers", target=source, why="no safetensors weights")
        raise UnsafeModelError(
            f"{source} has no safetensors weights, only {named}; loading those would unpickle them.\n"
            "Either have them converted in an isolated process, compared bit for bit, and load that:\n"
            f"    nbguard.load_transformers({source!r}, convert=True)\n"
            f"    nbguard convert {source}{at} --to FOLDER        (on the command line)\n"
            "or ask the publisher for safetensors."
        )
    from nbguard.acquire.convert import ConversionError

    try:
        return converted_folder(source, commit)
    except ConversionError as error:
        note("load.refused", loader="nbguard.load_transformers", target=source, why="not converted")
        raise UnsafeModelError(f"{source} cannot be loaded the safe way: {error}", error.report) from None


def converted_folder(
    source: str,
    commit: str | None,
    *,
    only: Sequence[str] | None = None,
    progress: Callable[[float, str], None] | None = None,
) -> str:
    """Convert the weights of a folder, or of a repository at a commit, into a folder of this user's own.

    One that was made of the same bytes before, and is to the byte as it was made, is taken again.

    Args:
        only: the weights to convert; by default all.
        progress: called with the share done and what is being done.

    Raises:
        ConversionError: it is not safe, or not pure data.
        TargetError: it cannot be read.
    """
    import hashlib

    from nbguard import settings
    from nbguard.acquire import kept
    from nbguard.acquire.convert import convert
    from nbguard.hooks.walk import note

    place = source if commit is not None else os.path.realpath(source)
    name = source.replace("/", "--") if commit is not None else os.path.basename(place)
    told = "\0".join((place, commit or "", *sorted(only or ())))
    own = hashlib.sha256(told.encode(errors="surrogateescape")).hexdigest()[:12]
    folder = settings.private_dir(settings.data_dir() / "converted") / f"{name[:80]}-{own}"
    now = kept.digests(place, commit, only)
    if kept.still(folder, now, whole=commit is None):
        note("model.converted_before", target=source, commit=commit, path=str(folder))
        return str(folder)
    made = convert(
        place if commit is None else f"hf://{source}",
        folder,
        revision=commit,
        overwrite=True,
        only=only,
        private=True,
        progress=progress,
    )
    read = {file.source: file.source_sha256 for file in made.files}
    if all(now.get(path, digest) == digest for path, digest in read.items()):
        kept.remember(folder, now | read)
    note("model.converted", target=source, commit=commit, files=[f.path for f in made.files])
    return made.path


__all__ = ["UnsafeModelError", "converted_folder", "load_transformers"]
