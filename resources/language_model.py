"""The language model: who writes answers and who embeds texts, by the role that the profile gives them.

Not here: how answers are written (``weft/language``).
"""

import os
from pathlib import Path
from typing import TYPE_CHECKING

import dagster as dg
from pydantic import Field

from resources import model_folders
from resources.artifacts import ArtifactStore
from resources.profiles import NAME_OR_NOTHING, LanguageModelSpec, Profile, TextTask
from resources.storage import SHARED
from weft.cells import Cell
from weft.errors import RequestError
from weft.language.engine import Writer

if TYPE_CHECKING:
    from weft.language.local import LocalModel


class LanguageModel(dg.ConfigurableResource):
    """Opens language models. What is set here takes the place of the profile's model in every role."""

    name: str = Field(default="", description="Folder or hub name, or with base_url the name that a server knows.")
    revision: str = Field(default="", description="Commit of a hub model.")
    base_url: str = Field(default="", description="Address of an OpenAI-compatible server that writes the answers.")
    key: str = Field(
        default="", pattern=NAME_OR_NOTHING, description="Environment variable that holds the server's key."
    )
    concurrency: int = Field(default=8, ge=1, le=256, description="Requests in flight at once.")
    timeout: float = Field(default=120.0, gt=0, le=3600, description="Seconds that one request may take.")

    def writer(self, store: ArtifactStore, profile: Profile, task: TextTask, device: str) -> Writer:
        """Who writes the answers of one task of the profile; ``device`` is ``auto``, ``cpu`` or ``cuda``.

        Raises:
            MissingArtifactError: If the house model is asked for and has not been trained.
            RequestError: If the model cannot be opened, or an endpoint's key is not set.
        """
        spec = self._replaced(profile.language_model(task.model))
        return self._endpoint(spec) if spec.kind == "endpoint" else self._local(store, spec, device)

    def text_encoder(self, store: ArtifactStore, profile: Profile, device: str) -> "LocalModel":
        """Whose hidden states embed item texts; raises as ``writer`` does, and where it is no local model."""
        spec = profile.language_model(profile.text_encoder)
        return self._local(store, spec if self.base_url else self._replaced(spec), device)

    def adapted(
        self, store: ArtifactStore, profile: Profile, system: str, device: str, adapter: Path | None = None
    ) -> "LocalModel":
        """The model that ``system`` adapts: as it is, to be tuned, or with the ``adapter`` (a PEFT folder) put in.

        Raises:
            MissingArtifactError: If the house model is asked for and has not been trained.
            RequestError: If it runs behind an endpoint, where no vector takes a token's place, or cannot be opened.
        """
        spec = self._replaced(profile.language_model(profile.tuning[system].model))
        if spec.kind == "endpoint":
            raise RequestError(f"{spec.name} runs behind an endpoint and {system} tunes it", "name a local model")
        return self._local(store, spec.model_copy(update={"adapter": str(adapter or spec.adapter)}), device)

    def _replaced(self, spec: LanguageModelSpec) -> LanguageModelSpec:
        if self.base_url:
            if not self.name:
                raise RequestError("language_model.base_url is set and language_model.name is not", "name the model")
            return LanguageModelSpec(
                kind="endpoint", name=self.name, revision=self.revision, base_url=self.base_url, key=self.key,
                concurrency=self.concurrency, timeout=self.timeout,
            )  # fmt: skip
        return LanguageModelSpec(kind="local", name=self.name, revision=self.revision) if self.name else spec

    def _endpoint(self, spec: LanguageModelSpec) -> Writer:
        from weft.language.endpoint import EndpointModel  # noqa: PLC0415 - imports the client

        if spec.key and not os.environ.get(spec.key):
            raise RequestError(f"{spec.name} needs a key and {spec.key} is not set", f"export {spec.key}=…")
        return EndpointModel(
            spec.name, base_url=spec.base_url, key=spec.key, revision=spec.revision, concurrency=spec.concurrency,
            timeout=spec.timeout,
        )  # fmt: skip

    def _local(self, store: ArtifactStore, spec: LanguageModelSpec, device: str) -> "LocalModel":
        from weft.language.local import LocalModel  # noqa: PLC0415 - imports torch

        name, known_as = spec.name, ""
        if spec.kind == "house":
            folder, _ = model_folders.opened(store, "house.language_model", Cell(SHARED))
            name, known_as = str(folder), spec.name
        return LocalModel.open(
            name, revision=spec.revision, adapter=spec.adapter, dtype=spec.dtype, device=device, known_as=known_as
        )


_BATCH = 16_384
"""Tokens of one batch of answers."""


def needs(spec: LanguageModelSpec) -> str:
    """What a language model of a profile takes of this machine's memory to answer, in a line for a person."""
    if spec.kind == "endpoint":
        key = f", key in {spec.key} ({'set' if os.environ.get(spec.key) else 'not set'})" if spec.key else ""
        return f"{spec.name} at {spec.base_url}{key}: no memory of this machine"
    if spec.kind == "house":
        return "house model: less than 1 GiB"
    from weft.language import loading, memory  # noqa: PLC0415 - imports torch

    device = loading.pick_device("auto")
    if spec.name not in memory.SHAPES:
        return f"{spec.name}: known once it is there"
    needed = memory.estimate(memory.shape(spec.name), loading.pick_dtype(spec.dtype, device), batch=1, tokens=_BATCH)
    free = memory.free(device)
    fits = "fits" if needed.total <= free else "does not fit"
    return f"{spec.name}: {needed.total / memory.GIB:.1f} GiB of {free / memory.GIB:.1f} free on {device.type}: {fits}"
