"""``weft doctor``: versions, what fits on this machine, what the caches hold, and the integrity of every artifact."""

import re
from typing import Annotated

import typer
from rich.console import Console
from rich.markup import escape

from pipelines.commands.options import Storage, use_storage
from resources import caches, language_model, maintenance, metadata, profiles
from resources.accelerator import Accelerator
from resources.artifacts import ArtifactStore
from resources.provenance import library_versions
from weft.errors import RequestError

_SIZE = re.compile(r"^([0-9]+(?:\.[0-9]+)?) *([kKMGT]?)i?[bB]?$")
_UNITS = {"": 1, "k": 1e3, "K": 1e3, "M": 1e6, "G": 1e9, "T": 1e12}


def register(app: typer.Typer) -> None:
    """Adds the command."""
    app.command()(doctor)


def doctor(
    storage: Storage = None,
    trim: Annotated[
        str, typer.Option(help="First shrink the cache of generated answers to this size, oldest first: 500MB, 2GB, 0.")
    ] = "",
) -> None:
    """Versions, memory, caches, and the integrity of every artifact. Exit code 1 if anything is wrong."""
    most = _bytes(trim) if trim else None
    base = use_storage(storage)
    store, console = ArtifactStore(base), Console()
    for name, value in library_versions().items():
        console.print(f"{name} {value}", highlight=False)
    console.print(f"accelerator: {Accelerator().name()}", highlight=False)
    _models(console)
    _answers(store, most, console)
    damaged = 0
    for problem in maintenance.doctor(store):
        damaged += problem.damage
        mark = "[red]wrong:[/red]" if problem.damage else "[yellow]untidy:[/yellow]"
        told = f"{mark} {escape(problem.what)}\n  → {escape(problem.remedy)}"
        console.print(told, highlight=False, soft_wrap=True)
    told = f"storage {base}: {len(store.leaves())} artifacts verified, {damaged} wrong"
    console.print(told, highlight=False, soft_wrap=True)
    if damaged:
        raise typer.Exit(1)


def _models(console: Console) -> None:
    """What each profile's language models need to answer, and whether that is free."""
    for name in profiles.PROFILES:
        for spec in profiles.load(name).language_models.values():
            console.print(f"profile {name}: {escape(language_model.needs(spec))}", highlight=False, soft_wrap=True)


def _answers(store: ArtifactStore, most: int | None, console: Console) -> None:
    cache = caches.generations(store)
    if most is not None:
        console.print(f"removed {metadata.size(cache.trim(most))} of answers", highlight=False)
    entries = cache.entries()
    told = f"generated answers: {entries['answers'].sum():,}, {metadata.size(cache.size())}"
    console.print(told, highlight=False)
    for model, revision, _, answers, read, written, seconds in entries.iter_rows():
        tokens = f"{read:,} tokens read, {written:,} written"
        told = f"  {model} {revision[:12]}: {answers:,} answers, {tokens}, {seconds:.0f} s"
        console.print(escape(told), highlight=False, soft_wrap=True)


def _bytes(text: str) -> int:
    """A size as people write it.

    Raises:
        RequestError: If it is none.
    """
    if not (found := _SIZE.match(text.strip())):
        raise RequestError(f"--trim {text} is no size", "for example --trim 500MB")
    return int(float(found[1]) * _UNITS[found[2]])
