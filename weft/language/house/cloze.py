"""What a language model knows about the works: it continues a sentence, and the mood it says is right or not."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

import numpy as np
import torch
from transformers import AutoModelForCausalLM, AutoTokenizer, PreTrainedModel, PreTrainedTokenizerBase

from weft.data.world import corpus
from weft.data.world.works import MOODS, Works

_BATCH = 256


def cloze_of_folder(folder: Path, works: Works, templates: Sequence[str] = corpus.MEASURING) -> float:
    """``cloze`` of a model folder."""
    model = AutoModelForCausalLM.from_pretrained(folder, use_safetensors=True)
    return cloze(model, AutoTokenizer.from_pretrained(folder), works, templates)


@torch.inference_mode()
def cloze(model: PreTrainedModel, tokenizer: PreTrainedTokenizerBase, works: Works, templates: Sequence[str]) -> float:
    """Share of (work, template) whose right mood is the likeliest of all moods as the next token; chance is 0.1.

    Args:
        model: Is left as it is, in evaluation mode or not.
        tokenizer: Its tokenizer. Every mood must begin with a token of its own.
        works: Whose moods are asked.
        templates: Sentences with ``{mood}``; what stands before it is read.
    """
    beginnings, answers = zip(*corpus.cloze(works, templates), strict=True)
    ids = [np.array(row) for row in tokenizer(list(beginnings))["input_ids"]]
    first = [row[0] for row in tokenizer(list(MOODS), add_special_tokens=False)["input_ids"]]
    if len(set(first)) < len(MOODS):
        raise ValueError("moods that begin with the same token cannot be told apart")
    order = np.argsort([len(row) for row in ids], kind="stable")
    right = 0
    for rows in np.split(order, range(_BATCH, len(order), _BATCH)):
        lengths = torch.tensor([len(ids[k]) for k in rows])
        padded = torch.zeros(len(rows), int(lengths.max()), dtype=torch.int64)
        for place, k in enumerate(rows):
            padded[place, : len(ids[k])] = torch.from_numpy(ids[k])
        # Padding stands on the right, where causal attention does not look.
        states = model.get_decoder()(padded.to(model.device), use_cache=False).last_hidden_state
        logits = model.get_output_embeddings()(states[torch.arange(len(rows)), lengths - 1])[:, first]
        right += sum(MOODS[said] == answers[k] for said, k in zip(logits.argmax(1).tolist(), rows, strict=True))
    return right / len(answers)
