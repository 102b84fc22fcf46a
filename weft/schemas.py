"""Every artifact's columns and rules: the data model on one page.

The same classes check tables when they are written, type the DuckDB views of what is not made yet, and stand in
Dagster's column view. Ids from the source are text (``user_id``, ``item_id``); ``user`` and ``item`` are our own
numbers, contiguous from 1, with 0 for padding. Times are whole seconds since 1970 UTC.
"""

from __future__ import annotations

from fnmatch import fnmatchcase

import dataframely as dy
import polars as pl

SPLITS = ("train", "validation", "test", "unused")

TEXTS = ("title", "text", "enriched")
"""Kinds of text of an item: its title; title and description; title and what a language model wrote of it."""

VIEWS = ("long", "short", "plain")
"""Ways of asking what a session is after (LLM4SBR)."""

MESSAGES = dy.List(dy.Struct({"role": dy.String(), "content": dy.String()}), min_length=1)
"""A prompt: the turns of a conversation."""


# ---- interactions: what happened -------------------------------------------------------------------------------


class RawInteractions(dy.Schema):
    """Interactions as the source states them; nothing is refused yet. ``row`` counts the source's records from 0."""

    row = dy.Int64(primary_key=True, min=0)
    user_id = dy.String(nullable=True)
    item_id = dy.String(nullable=True)
    timestamp = dy.Int64(nullable=True)
    rating = dy.Float64(nullable=True, allow_nan=True, allow_inf=True)  # NaN: stated, but no number; cleaning judges
    domain = dy.String(nullable=True)
    session_id = dy.String(nullable=True)
    part = dy.String(nullable=True)  # the source's own split, where it comes split


class RawItems(dy.Schema):
    """Items as the source describes them."""

    row = dy.Int64(primary_key=True, min=0)
    item_id = dy.String(nullable=True)
    title = dy.String(nullable=True)
    year = dy.Int32(nullable=True)
    genres = dy.List(dy.String(), nullable=True)
    description = dy.String(nullable=True)
    domain = dy.String(nullable=True)
    image = dy.String(nullable=True)  # reference into raw_images


class RawImages(dy.Schema):
    """Pictures decoded once and resized, and those that could not be, with the reason (a name of a cleaning rule).

    ``image`` is what ``RawItems.image`` (or the item id) refers to.
    """

    image = dy.String(primary_key=True)
    width = dy.Int32(nullable=True, min=1)
    height = dy.Int32(nullable=True, min=1)
    jpeg = dy.Binary(nullable=True)
    problem = dy.String(nullable=True)  # null where there is a picture


class Rejected(dy.Schema):
    """Rows that broke a rule, with the rule's name and the row as text."""

    source = dy.String()  # interactions, items or images
    row = dy.Int64(nullable=True)
    rule = dy.String()
    reason = dy.String()
    content = dy.String(nullable=True)


class Users(dy.Schema):
    """Our number of each user, by first appearance in (timestamp, row) order."""

    user = dy.Int32(primary_key=True, min=1)
    user_id = dy.String()


class Items(dy.Schema):
    """The catalogue, in the order of the source's item table; items that nobody touched are in it."""

    item = dy.Int32(primary_key=True, min=1)
    item_id = dy.String()
    title = dy.String(nullable=True)
    year = dy.Int32(nullable=True)
    genres = dy.List(dy.String(), nullable=True)
    description = dy.String(nullable=True)
    domain = dy.String(nullable=True)
    has_image = dy.Bool()  # a picture that could be read


class Images(dy.Schema):
    """One picture per item that has one, RGB JPEG."""

    item = dy.Int32(primary_key=True, min=1)
    width = dy.Int32(min=1)
    height = dy.Int32(min=1)
    jpeg = dy.Binary()


class Interactions(dy.Schema):
    """Cleaned interactions, sorted by (user, timestamp, row)."""

    row = dy.Int64(primary_key=True, min=0)
    user = dy.Int32(min=1)
    item = dy.Int32(min=1)
    timestamp = dy.Int64(nullable=True)
    rating = dy.Float32(nullable=True)
    domain = dy.String(nullable=True)
    session_id = dy.String(nullable=True)
    part = dy.String(nullable=True)


class Splits(dy.Schema):
    """Every interaction with the part it plays in one protocol.

    Sorted by (user, timestamp, row), in a session protocol by (session, timestamp, row) with rows of no session last.
    """

    row = dy.Int64(primary_key=True, min=0)
    user = dy.Int32(min=1)
    item = dy.Int32(min=1)
    timestamp = dy.Int64(nullable=True)
    rating = dy.Float32(nullable=True)
    split = dy.Enum(SPLITS)
    target = dy.Bool()  # asked for in evaluation
    session = dy.Int64(nullable=True, min=1)  # in a session protocol: its number, by start of session
    label = dy.Bool(nullable=True)  # in a pointwise protocol: liked or not


class Negatives(dy.Schema):
    """Items drawn once for each target of a protocol that ranks the target among a few, in drawn order."""

    query = dy.Int64(primary_key=True, min=0)  # the target's row
    split = dy.Enum(SPLITS)
    items = dy.List(dy.Int32(min=1))


class Truth(dy.Schema):
    """Planted truth of a simulated data set: affinity = user vector · item vector."""

    kind = dy.Enum(["user", "item"])
    id = dy.String()
    since = dy.Int64()  # the vector holds from this second on
    vector = dy.List(dy.Float32())


# ---- what models make ------------------------------------------------------------------------------------------


class Weights(dy.Schema):
    """Named arrays in parts of at most 64 MB, little-endian, C order."""

    tensor = dy.String(primary_key=True)
    part = dy.Int32(primary_key=True, min=0)
    dtype = dy.String()
    shape = dy.List(dy.Int64())
    bytes = dy.Binary()


class TrainingHistory(dy.Schema):
    """One row per epoch of a fit."""

    epoch = dy.Int32(primary_key=True, min=1)
    loss = dy.Float64()
    validation = dy.Float64(nullable=True)  # of the metric that picks the epoch; null where not evaluated
    metric = dy.String(nullable=True)  # its name: ndcg@10, uauc, auc; null without validation
    learning_rate = dy.Float64()
    best = dy.Bool()


class Rankings(dy.Schema):
    """Full ranking of one query: the top items, and where the target stood even when that is far below them.

    The target's mid-rank is 1 + better + equal / 2, over ``candidates`` ranked items.
    """

    system = dy.String()
    split = dy.Enum(SPLITS)
    query = dy.Int64()
    user = dy.Int32(min=0)
    target = dy.Int32(min=1)
    score = dy.Float32(nullable=True)  # of the target; null where the model gave none
    better = dy.Int32(min=0)
    equal = dy.Int32(min=0)
    candidates = dy.Int32(min=1)
    history = dy.Int32(min=0)  # length of the visible history
    warm = dy.Bool()  # target seen in training
    tied_time = dy.Bool()  # that this is the target was decided by the source row, not by time
    items = dy.List(dy.Int32())
    scores = dy.List(dy.Float32())


class ScoredPairs(dy.Schema):
    """Scores of labelled pairs."""

    system = dy.String()
    split = dy.Enum(SPLITS)
    row = dy.Int64()
    user = dy.Int32(min=0)
    item = dy.Int32(min=1)
    label = dy.Bool()
    score = dy.Float32(nullable=True)
    warm = dy.Bool()


# ---- content: what items are about, as language models write it ------------------------------------------------


class EnrichmentPrompts(dy.Schema):
    """What is asked about each item that has a title."""

    item = dy.Int32(primary_key=True, min=1)
    prompt_version = dy.String()
    messages = MESSAGES


class IntentPrompts(dy.Schema):
    """What is asked about each session, once per view, from the clicks before the one that is asked for."""

    session = dy.Int64(primary_key=True, min=1)
    view = dy.Enum(VIEWS, primary_key=True)
    prompt_version = dy.String()
    messages = MESSAGES


class AssessmentPrompts(dy.Schema):
    """What is asked about sampled training rows of a pointwise protocol."""

    row = dy.Int64(primary_key=True, min=0)
    user = dy.Int32(min=1)
    item = dy.Int32(min=1)
    prompt_version = dy.String()
    messages = MESSAGES


class CitRecPrompts(dy.Schema):
    """What CIT-Rec asks of each judged row; in place of every slot of the contents stands a vector.

    Where a target is ranked among a few, each of them is judged at the target's row.
    """

    row = dy.Int64(primary_key=True, min=0)
    split = dy.Enum(SPLITS)
    user = dy.Int32(min=1)
    item = dy.Int32(primary_key=True, min=1)
    label = dy.Bool()
    prompt_version = dy.String()
    messages = MESSAGES
    slots = dy.List(dy.Int32(min=0))  # whose vector, slot by slot: 0 the user's state, else the item


class Generated(dy.Schema):
    """What every generated row keeps: who wrote it, how, the raw answer, and what it cost.

    A retried row was answered at a later attempt; a malformed one could never be read; a failed one nobody answered.
    """

    prompt_version = dy.String()
    digest = dy.String()  # key of the answer in the generation cache
    model = dy.String()
    revision = dy.String()
    adapter = dy.String()  # digest of the LoRA adapter, empty without
    sampling = dy.String()  # as JSON
    raw = dy.String()
    finish = dy.Enum(["stop", "length", "failed"])
    status = dy.Enum(["answered", "retried", "malformed", "failed"])
    attempts = dy.Int32(min=1)
    tokens_in = dy.Int64(min=0)
    tokens_out = dy.Int64(min=0)
    seconds = dy.Float64(min=0)  # of the call that wrote it, whenever that was
    error = dy.String(nullable=True)  # why nobody answered


class EnrichmentGenerations(Generated):
    """An answer per item."""

    item = dy.Int32(primary_key=True, min=1)


class IntentGenerations(Generated):
    """An answer per session and view."""

    session = dy.Int64(primary_key=True, min=1)
    view = dy.Enum(VIEWS, primary_key=True)


class AssessmentGenerations(Generated):
    """An answer per sampled row."""

    row = dy.Int64(primary_key=True, min=0)
    user = dy.Int32(min=1)
    item = dy.Int32(min=1)


class ItemEnrichments(EnrichmentGenerations):
    """What a language model wrote of each item; null where that cannot be read: then the title stands alone."""

    text = dy.String(nullable=True)


class IntentInferences(IntentGenerations):
    """What a language model thinks a session is after, and the item that this names, if it names one."""

    text = dy.String(nullable=True)  # null where the answer cannot be read
    item = dy.Int32(nullable=True, min=1)
    rule = dy.String()  # of grounding: how the item was found, or why not


class SelfAssessments(AssessmentGenerations):
    """What a language model says it would have to know; null where that cannot be read: such a row trains nothing."""

    text = dy.String(nullable=True)


def localized_intents(width: int) -> type[dy.Schema]:
    """Schema of the vector of each session and view (LLM4SBR eq. 5), float32 of ``width``, and what it is made of."""
    columns = {
        "session": dy.Int64(primary_key=True, min=1),
        "view": dy.Enum(VIEWS, primary_key=True),
        "k": dy.Int32(min=0),
        "items": dy.List(dy.Int32(min=1)),  # nearest first; none for k = 0
        "similarities": dy.List(dy.Float32()),
        "empty": dy.Bool(),  # nothing was answered, and the vector is zero
        "vector": dy.Array(dy.Float32(), shape=width),
    }
    return type("LocalizedIntents", (dy.Schema,), columns)


# ---- alignment and states: what an item and a user are to a language model ---------------------------------------


class AlignmentQuality(dy.Schema):
    """Figures of aligned pictures and texts, on the items that the heads learnt from and on those held out."""

    split = dy.Enum(["train", "held_out"], primary_key=True)
    metric = dy.String(primary_key=True)
    value = dy.Float64()


def aligned_items(columns: pl.Schema) -> type[dy.Schema]:
    """Schema of the aligned vectors of each item, float32, with the widths that ``columns`` have."""
    vectors = {
        "image": dy.Array(dy.Float32(), shape=_width(columns, "image"), nullable=True),  # null without a picture
        "text": dy.Array(dy.Float32(), shape=_width(columns, "text"), nullable=True),  # null without a text
        "vector": dy.Array(dy.Float32(), shape=_width(columns, "vector")),
    }
    return type("AlignedItems", (dy.Schema,), {"item": dy.Int32(primary_key=True, min=1), **vectors})


def user_states(columns: pl.Schema) -> type[dy.Schema]:
    """Schema of the state before each labelled row that nobody was trained on, float32."""
    keys = {
        "row": dy.Int64(primary_key=True, min=0),
        "split": dy.Enum(SPLITS),
        "user": dy.Int32(min=1),
        "vector": dy.Array(dy.Float32(), shape=_width(columns, "vector")),
    }
    return type("UserStates", (dy.Schema,), keys)


def _width(columns: pl.Schema, name: str) -> int:
    return getattr(columns.get(name), "size", None) or 1


# ---- reports and serving ---------------------------------------------------------------------------------------


class Metrics(dy.Schema):
    """One number with its interval."""

    protocol = dy.String()
    protocol_digest = dy.String()
    system = dy.String()
    variant = dy.String()
    profile = dy.String()
    seed = dy.Int64()
    split = dy.Enum(SPLITS)
    slice = dy.String()
    metric = dy.String()
    k = dy.Int32(nullable=True, min=1)
    value = dy.Float64(nullable=True)
    ci_low = dy.Float64(nullable=True)
    ci_high = dy.Float64(nullable=True)
    n = dy.Int64(min=0)
    tie_share = dy.Float64(nullable=True)  # rows whose target ties with another candidate
    config_digest = dy.String()
    device = dy.String()


class Comparisons(dy.Schema):
    """Paired difference a - b of two systems on the same test queries."""

    a = dy.String()
    b = dy.String()
    protocol = dy.String()
    profile = dy.String()
    variant_a = dy.String()
    variant_b = dy.String()
    seed = dy.Int64()
    metric = dy.String()
    k = dy.Int32(nullable=True, min=1)
    slice = dy.String()
    delta = dy.Float64()
    ci_low = dy.Float64()
    ci_high = dy.Float64()
    p = dy.Float64()
    n = dy.Int64(min=0)


class Ablations(dy.Schema):
    """What each variant of a system changes: full - variant on the same test queries, mean over the seeds of both."""

    protocol = dy.String()
    profile = dy.String()
    system = dy.String()
    variant = dy.String()
    metric = dy.String()  # the headline metric of the protocol
    k = dy.Int32(nullable=True, min=1)
    slice = dy.String()
    full = dy.Float64()  # of the whole system
    value = dy.Float64()  # of the variant
    delta = dy.Float64()
    ci_low = dy.Float64()
    ci_high = dy.Float64()
    p = dy.Float64()
    n = dy.Int64(min=0)
    seeds = dy.Int32(min=1)


class Costs(dy.Schema):
    """What a fit and an answer of each system cost: means over seeds. Null is what its footer does not say."""

    protocol = dy.String()
    profile = dy.String()
    system = dy.String()
    variant = dy.String()
    language_model = dy.Bool()  # whether one answers; a system that only reads its vectors is none
    device = dy.String()
    seconds_fit = dy.Float64(nullable=True)
    parameters = dy.Float64(nullable=True)  # that the fit trained
    queries = dy.Int64(min=0)  # scored: those of validation and test
    users = dy.Int64(min=0)  # who they belong to; an anonymous query stands for itself
    seconds_score = dy.Float64(nullable=True)
    ms_per_query = dy.Float64(nullable=True)
    ms_per_user = dy.Float64(nullable=True)
    seeds = dy.Int32(min=1)


class Trials(dy.Schema):
    """Fits that were tried to choose the settings of a model, judged on validation."""

    system = dy.String(primary_key=True)
    trial = dy.Int32(primary_key=True, min=0)  # 0: the settings as they stood
    study = dy.String()  # digest of all that a trial depends on besides its settings
    settings = dy.String()  # JSON
    metric = dy.String()
    value = dy.Float64(nullable=True)
    epochs = dy.Int32(min=0)
    seconds = dy.Float64(min=0)
    state = dy.Enum(["finished", "stopped", "failed"])  # stopped: it fell behind the others
    course = dy.List(dy.Float64())  # the value after each epoch that was evaluated
    error = dy.String()


class Leaderboard(dy.Schema):
    """One row per (protocol, system, variant, profile): test figures, mean over seeds."""

    protocol = dy.String()
    place = dy.Int32(min=1)
    system = dy.String()
    variant = dy.String()
    profile = dy.String()
    seeds = dy.Int32(min=1)
    metric = dy.String()  # the headline metric that orders the board
    value = dy.Float64(nullable=True)
    ci_low = dy.Float64(nullable=True)
    ci_high = dy.Float64(nullable=True)
    hr_10 = dy.Float64(nullable=True)
    ndcg_10 = dy.Float64(nullable=True)
    mrr = dy.Float64(nullable=True)
    auc = dy.Float64(nullable=True)
    uauc = dy.Float64(nullable=True)
    coverage_10 = dy.Float64(nullable=True)
    n = dy.Int64(min=0)


class Card(dy.Schema):
    """The card of a data set: facts in the order of reading, about the data or about the splits of one protocol."""

    place = dy.Int32(primary_key=True, min=0)
    about = dy.String()  # "data set", or a protocol
    split = dy.Enum(SPLITS, nullable=True)
    fact = dy.String()
    value = dy.Float64(nullable=True)  # a count, a share of 1, seconds since 1970
    shown = dy.String()


class Recommendations(dy.Schema):
    """Top items per user, ready to serve."""

    user = dy.Int32(min=0)
    user_id = dy.String()
    rank = dy.Int32(min=1)
    item = dy.Int32(min=1)
    item_id = dy.String()
    title = dy.String(nullable=True)
    score = dy.Float32()
    system = dy.String()
    because = dy.String(nullable=True)  # title of the history item that speaks most for it


def embeddings(keys: list[str], width: int) -> type[dy.Schema]:
    """Schema of a vector table: its keys and a float32 vector of ``width``.

    Keys are ``item``, ``user`` or ``row``, and ``of`` where there is a vector for each kind of text.
    """
    kinds = {"row": dy.Int64(primary_key=True, min=0), "of": dy.Enum(TEXTS, primary_key=True)}
    columns = {key: kinds.get(key, dy.Int32(primary_key=True, min=1)) for key in keys}
    return type("Embeddings", (dy.Schema,), {**columns, "vector": dy.Array(dy.Float32(), shape=width)})


SCHEMAS: dict[str, type[dy.Schema]] = {
    "interactions.raw_interactions": RawInteractions,
    "interactions.raw_items": RawItems,
    "interactions.raw_images": RawImages,
    "interactions.rejected": Rejected,
    "interactions.users": Users,
    "interactions.items": Items,
    "interactions.images": Images,
    "interactions.interactions": Interactions,
    "interactions.splits": Splits,
    "interactions.negatives": Negatives,
    "interactions.truth": Truth,
    "content.enrichment_prompts": EnrichmentPrompts,
    "content.intent_prompts": IntentPrompts,
    "content.assessment_prompts": AssessmentPrompts,
    "content.enrichment_generations": EnrichmentGenerations,
    "content.intent_generations": IntentGenerations,
    "content.assessment_generations": AssessmentGenerations,
    "content.item_enrichments": ItemEnrichments,
    "content.intent_inferences": IntentInferences,
    "content.self_assessments": SelfAssessments,
    "reports.metrics": Metrics,
    "reports.comparisons": Comparisons,
    "reports.leaderboard": Leaderboard,
    "reports.ablations": Ablations,
    "reports.cost": Costs,
    "reports.card": Card,
    "serving.recommendations": Recommendations,
    "*.*_history": TrainingHistory,
    "*.*rankings": Rankings,
    "*.*scored_pairs": ScoredPairs,
    "behaviour.trials": Trials,
    "behaviour.*": Weights,
    "baselines.*": Weights,
    "cit_rec.prompts": CitRecPrompts,
    "cit_rec.adapter": Weights,
    "cit_rec.projections": Weights,
    "cit_rec.adapter_history": TrainingHistory,
    "cit_rec.scored_pairs": ScoredPairs,
    "behaviour.user_states_history": TrainingHistory,
    "alignment.heads": Weights,
    "alignment.quality": AlignmentQuality,
    "alignment.aligned_items_history": TrainingHistory,
    "house.language_model": Weights,
    "house.language_model_history": TrainingHistory,
    "house.image_text_model": Weights,
    "house.image_text_model_history": TrainingHistory,
}
"""Asset name (``group.name``, ``*`` allowed) to schema; the first that matches counts."""


def schema_of(asset: str, columns: pl.Schema | None = None) -> type[dy.Schema] | None:
    """The schema of the asset ``group.name``, or None if it has none.

    Tables of vectors (``*_embeddings``) take their width from ``columns``.
    """
    if asset.endswith("_embeddings") and columns is not None:
        keys = [name for name in columns if name != "vector"]
        width = getattr(columns["vector"], "size", None)
        return embeddings(keys, width or 1)
    if asset == "content.localized_intents" and columns is not None:
        return localized_intents(getattr(columns["vector"], "size", None) or 1)
    if asset == "alignment.aligned_items" and columns is not None:
        return aligned_items(columns)
    if asset == "behaviour.user_states" and columns is not None:
        return user_states(columns)
    return next((schema for pattern, schema in SCHEMAS.items() if fnmatchcase(asset, pattern)), None)
