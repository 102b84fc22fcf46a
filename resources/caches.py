"""What is kept beside the artifacts because it was expensive, and may be deleted at any time: the answers of models."""

from resources.artifacts import ArtifactStore
from weft.language.cache import Cache


def generations(store: ArtifactStore) -> Cache:
    """The answers of language models, shared by all data sets of a storage."""
    return Cache(store.work.parent / ".cache" / "generations")
