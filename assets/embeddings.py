"""Vectors of what items are: of their pictures, and of their texts by three kinds of encoder.

One leaf per data set and profile: what an item is depends on no protocol and no seed.
"""

from collections.abc import Iterator

import dagster as dg
import numpy as np
import polars as pl
from numpy.typing import NDArray

from assets.content import HOUSE_LANGUAGE, HOUSE_VISION, IMAGES, ITEMS, content_asset, item_texts, made
from resources.accelerator import Accelerator
from resources.cells import Cells
from resources.encoders import ImageTextEncoder, SentenceEncoder
from resources.language_model import LanguageModel
from resources.storage import Leaves, ParquetStorage, Table
from weft.language.texts import OF

_PICTURES = 2_048
"""Pictures read at a time: about 40 MB."""


@content_asset(
    "image_embeddings",
    "A vector of each item's picture, by the image-text model. An item without a readable picture has none.",
    [IMAGES, HOUSE_VISION],
    "openclip",
    gpu=True,
)
def image_embeddings(
    context: dg.AssetExecutionContext,
    cells: Cells,
    accelerator: Accelerator,
    image_text_encoder: ImageTextEncoder,
    io_manager: dg.ResourceParam[ParquetStorage],
) -> dg.Output[Leaves]:
    """Pictures in, unit vectors out."""
    store, cell = io_manager.store, cells.of_items(context.partition_key)
    encoder = image_text_encoder.open(store, cells.models(), accelerator.runtime(0, log=context.log))
    pictures = store.scan("interactions.images", cell.of_dataset()).select("item", "jpeg")
    items = pictures.select("item").collect()["item"]
    vectors, seen = encoder.images(_contents(pictures))
    table = _vectors({"item": items.filter(pl.Series(seen))}, vectors[seen])
    attributes = {"model": encoder.revision}
    return dg.Output({cell: Table(table, attributes)}, metadata={"pictures": len(items), "unread": int((~seen).sum())})


@content_asset(
    "text_embeddings",
    "Vectors of each item's texts in the space of its picture, by the image-text model.",
    [ITEMS, made("item_enrichments"), HOUSE_VISION],
    "openclip",
    gpu=True,
)
def text_embeddings(
    context: dg.AssetExecutionContext,
    cells: Cells,
    accelerator: Accelerator,
    image_text_encoder: ImageTextEncoder,
    io_manager: dg.ResourceParam[ParquetStorage],
) -> dg.Output[Leaves]:
    """A text that is longer than the model reads is cut in chunks, whose vectors are pooled: nothing is lost."""
    store, cell = io_manager.store, cells.of_items(context.partition_key)
    encoder = image_text_encoder.open(store, cells.models(), accelerator.runtime(0, log=context.log))
    texts = item_texts(store, cell).filter(pl.col("of") != "title")
    vectors, chunks = encoder.texts(texts["text"].to_list())
    shown = {"texts": len(texts), "share in several chunks": float(np.mean(chunks > 1)) if len(chunks) else 0.0}
    return dg.Output({cell: Table(_of_texts(texts, vectors), {"model": encoder.revision})}, metadata=shown)


@content_asset(
    "llm_embeddings",
    "Vectors of each item's text: the mean of a language model's last hidden states (CIT-Rec eq. 3).",
    [ITEMS, HOUSE_LANGUAGE],
    "huggingface",
    gpu=True,
)
def llm_embeddings(
    context: dg.AssetExecutionContext,
    cells: Cells,
    accelerator: Accelerator,
    language_model: LanguageModel,
    io_manager: dg.ResourceParam[ParquetStorage],
) -> dg.Output[Leaves]:
    """Title and description in, hidden states out."""
    store, cell = io_manager.store, cells.of_items(context.partition_key)
    profile = cells.models()
    model = language_model.text_encoder(store, profile, accelerator.device)
    texts = item_texts(store, cell).filter(of="text")
    spec = profile.language_model(profile.text_encoder)
    vectors = model.embed(texts["text"].to_list(), spec.max_tokens)
    attributes = {"model": f"{model.identity.model} {model.identity.revision}"}
    return dg.Output({cell: Table(_of_texts(texts, vectors), attributes)}, metadata={"texts": len(texts)})


@content_asset(
    "sentence_embeddings",
    "Unit vectors of each item's title, text and generated text, by the sentence encoder.",
    [ITEMS, made("item_enrichments")],
    "huggingface",
    gpu=True,
)
def sentence_embeddings(
    context: dg.AssetExecutionContext,
    cells: Cells,
    accelerator: Accelerator,
    sentence_encoder: SentenceEncoder,
    io_manager: dg.ResourceParam[ParquetStorage],
) -> dg.Output[Leaves]:
    """Three texts of an item, three vectors."""
    store, cell = io_manager.store, cells.of_items(context.partition_key)
    encoder = sentence_encoder.open(cells.models().sentence_encoder, accelerator.runtime(0, log=context.log))
    texts = item_texts(store, cell)
    vectors = encoder.encode(texts["text"].to_list())
    attributes = {"model": encoder.revision}
    return dg.Output({cell: Table(_of_texts(texts, vectors), attributes)}, metadata={"texts": len(texts)})


def _contents(pictures: pl.LazyFrame) -> Iterator[bytes]:
    for batch in pictures.select("jpeg").collect_batches(chunk_size=_PICTURES, maintain_order=True):
        yield from batch["jpeg"]


def _of_texts(texts: pl.DataFrame, vectors: NDArray[np.float32]) -> pl.DataFrame:
    return _vectors({"item": texts["item"], "of": texts["of"].cast(OF)}, vectors)


def _vectors(keys: dict[str, pl.Series], vectors: NDArray[np.float32]) -> pl.DataFrame:
    column = pl.Series(vectors.astype(np.float32), dtype=pl.Array(pl.Float32, vectors.shape[1]))
    return pl.DataFrame({**keys, "vector": column})
