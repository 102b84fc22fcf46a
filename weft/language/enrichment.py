"""What each item is, in a language model's words (LLM-EMF, arXiv:2506.17966, eq. 1): prompts, and answers read.

A prompt sees the catalogue alone, never an interaction. An item without a title is not asked about.
"""

from __future__ import annotations

import polars as pl

from weft.language import answers
from weft.language.prompts import item_words, template, with_title
from weft.schemas import EnrichmentPrompts, ItemEnrichments


def prompts(items: pl.DataFrame, version: str) -> pl.DataFrame:
    """One prompt per titled item (schema ``EnrichmentPrompts``), in the order of the catalogue.

    Args:
        items: Schema ``Items``.
        version: Of the template.

    Raises:
        RequestError: If there is no such version.
    """
    form = template("enrichment", version)
    titled = items.filter(pl.col("item").is_in(with_title(items).implode()))
    words = item_words(titled)
    asked = {
        "item": list(words),
        "prompt_version": [form.stamp] * len(words),
        "messages": [form.message(**word) for word in words.values()],
    }
    return EnrichmentPrompts.cast(pl.DataFrame(asked, schema=EnrichmentPrompts.create_empty().schema))


def parse(generations: pl.DataFrame) -> pl.DataFrame:
    """The answers read (schema ``ItemEnrichments``).

    An answer that cannot be read gives no text; whoever embeds the item takes its title alone.

    Args:
        generations: Schema ``EnrichmentGenerations``.
    """
    return ItemEnrichments.cast(generations.with_columns(text=answers.read(generations, answers.prose)))
