"""What the columns of a user's own files are called. Only user and item are required; the rest is optional."""

from __future__ import annotations

from pydantic import BaseModel, ConfigDict, Field

JSON_ENDINGS = (".json", ".jsonl", ".ndjson", ".json.gz", ".jsonl.gz", ".ndjson.gz")
"""Files with one JSON object per line."""

TABLE_ENDINGS = (".csv", ".csv.gz", ".tsv", ".tsv.gz", ".parquet", *JSON_ENDINGS)
"""Files that can be read as a table."""


class _Names(BaseModel):
    model_config = ConfigDict(extra="forbid", frozen=True)

    def named(self, *leave_out: str) -> dict[str, str]:
        """Our name to the file's name, for every column that is mapped."""
        return {ours: theirs for ours, theirs in self.model_dump().items() if theirs and ours not in leave_out}


class InteractionColumns(_Names):
    """Columns of the interactions file."""

    user: str = Field("user", description="Who.")
    item: str = Field("item", description="What.")
    timestamp: str | None = Field(None, description="When. Without it the order is that of the file's rows.")
    rating: str | None = Field(None, description="How much it was liked.")
    domain: str | None = Field(None, description="Part of the shop, where the event says so itself.")
    session: str | None = Field(None, description="Visit.")
    part: str | None = Field(None, description="train, validation or test, where the data come split.")


class ItemColumns(_Names):
    """Columns of the items file."""

    file: str | None = Field(None, description="The items file; seen from the mapping's folder if it is relative.")
    item: str = Field("item", description="Item id, as the interactions have it.")
    title: str | None = Field(None, description="Name of the item.")
    year: str | None = Field(None, description="Year of publication.")
    genres: str | None = Field(None, description="A list, or text with `genre_separator` between genres.")
    description: str | None = Field(None, description="Longer text.")
    domain: str | None = Field(None, description="Part of the shop.")
    image: str | None = Field(None, description="Name of the picture in the image folder or zip.")


class ColumnMapping(BaseModel):
    """Columns, and how values are written."""

    model_config = ConfigDict(extra="forbid", frozen=True)

    interactions: InteractionColumns = Field(default_factory=InteractionColumns)
    items: ItemColumns = Field(default_factory=ItemColumns)
    separator: str = Field(",", min_length=1, max_length=1, description="Between the fields of a CSV file.")
    quote: str | None = Field('"', min_length=1, max_length=1, description="Around fields of a CSV file, if at all.")
    genre_separator: str = Field("|", min_length=1, description="Between genres in one text.")
    item_separator: str | None = Field(
        None, min_length=1, description="Between the items of a sequence; without it a comma or a space, as found."
    )
    unescape: bool = Field(False, description="HTML entities in titles and descriptions (&amp;) become characters.")
    time: str = Field(
        "auto",
        description="How times are written: s, ms, us or ns since 1970, iso, a strftime pattern such as %d.%m.%Y "
        "(UTC), or auto: numbers are seconds, text is ISO 8601.",
    )
