"""Encoders: models of pictures, texts and sentences, by the role that the profile gives them.

Not here: what they compute (``weft/vision``, ``weft/language/sentences.py``).
"""

from typing import TYPE_CHECKING

import dagster as dg
from pydantic import Field

from resources import model_folders
from resources.artifacts import ArtifactStore
from resources.profiles import Profile, SentenceModelSpec
from resources.storage import SHARED
from weft.cells import Cell
from weft.training.runtime import Runtime

if TYPE_CHECKING:
    from weft.language import sentences
    from weft.vision import encoder


class ImageTextEncoder(dg.ConfigurableResource):
    """Opens the model that embeds pictures and texts in one space."""

    name: str = Field(default="", description="Folder or open_clip architecture in place of the profile's model.")
    pretrained: str = Field(default="", description="Tag of the weights of a named architecture.")

    def open(self, store: ArtifactStore, profile: Profile, runtime: Runtime) -> "encoder.ImageTextEncoder":
        """The encoder, on the runtime's device.

        Raises:
            MissingArtifactError: If the house model is asked for and has not been trained.
            RequestError: If it cannot be opened.
        """
        from weft.vision import encoder  # noqa: PLC0415 - imports torch

        if self.name:
            return encoder.ImageTextEncoder(self.name, self.pretrained, runtime)
        spec = profile.image_text_model
        if spec.kind == "house":
            folder, _ = model_folders.opened(store, "house.image_text_model", Cell(SHARED))
            return encoder.ImageTextEncoder(folder, runtime=runtime)
        return encoder.ImageTextEncoder(spec.name, spec.pretrained, runtime)


class SentenceEncoder(dg.ConfigurableResource):
    """Opens the models that embed sentences."""

    name: str = Field(default="", description="Folder or hub name in place of every encoder of the profile.")

    def open(self, spec: SentenceModelSpec, runtime: Runtime) -> "sentences.SentenceEncoder":
        """The encoder of one role of the profile; raises ``RequestError`` if it cannot be opened."""
        from weft.language import sentences  # noqa: PLC0415 - imports torch

        spec = SentenceModelSpec(name=self.name) if self.name else spec
        return sentences.SentenceEncoder(spec.name, revision=spec.revision, runtime=runtime)


class Reranker(dg.ConfigurableResource):
    """Opens the model that reads two texts together and scores how they fit."""

    name: str = Field(default="", description="Folder or hub name in place of the profile's reranker.")

    def open(self, spec: SentenceModelSpec, runtime: Runtime) -> "sentences.Reranker":
        """The cross-encoder of a profile; raises ``RequestError`` if it cannot be opened."""
        from weft.language import sentences  # noqa: PLC0415 - imports torch

        spec = SentenceModelSpec(name=self.name) if self.name else spec
        return sentences.Reranker(spec.name, revision=spec.revision, runtime=runtime)
