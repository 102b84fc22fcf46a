"""What a language model knows about the works: it continues a sentence, and the mood it says is right or not."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

import numpy as np
import torch
from transformers import AutoModelForCausalLM, AutoTokenizer, PreTrainedModel, PreTrainedTokenizerBase

from weft.data.world import corpus
from weft.data.world.works import MOODS, Works
from weft.language.house.tokenizer import ASSISTANT, USER

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


@torch.inference_mode()
def recital(model: PreTrainedModel, tokenizer: PreTrainedTokenizerBase, works: Works) -> dict[str, float]:
    """Share of works whose ``mood``, and whose ``theme``, is the likeliest of all words at its place in an answer.

    The answer is the likeliest wording of an enrichment; what stands before a place is right, and a theme of two words
    counts if both are.

    Args:
        model: Is left as it is, in evaluation mode or not.
        tokenizer: Its tokenizer.
        works: Whose facts are asked.
    """
    user, assistant = (tokenizer.convert_tokens_to_ids(token) for token in (USER, ASSISTANT))

    def ids(text: str) -> list[int]:
        return tokenizer(text, add_special_tokens=False)["input_ids"]

    right = {"mood": 0, "theme": 0}
    for question, parts in corpus.recital(works):
        row, spans = [user, *ids(question), assistant], []
        for before, fact in parts:
            row += ids(before)
            spans.append((len(row), len(row) + len(ids(fact))))
            row += ids(fact)
        said = model(torch.tensor([row], device=model.device)).logits[0].argmax(1).tolist()
        for name, (begin, end) in zip(right, spans, strict=True):
            right[name] += said[begin - 1 : end - 1] == row[begin:end]
    return {name: count / len(works.titles) for name, count in right.items()}
