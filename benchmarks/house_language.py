r"""What the house language model knows and writes, and how fast it learns, on seeds that nobody tuned on.

    python -m benchmarks.house_language --seeds 101 102 103

A seed is both the world's and the training's. Each model is trained on one thread with the default settings; the
time is processor time, so that a busy machine does not count (memory shared with others still does).
"""

from __future__ import annotations

import argparse
import os

os.environ.setdefault("OMP_NUM_THREADS", "1")  # before torch
os.environ.setdefault("HF_HUB_OFFLINE", "1")

import statistics
import tempfile
import time
from pathlib import Path
from typing import Any

import numpy as np
import psutil
import torch
from sklearn.linear_model import LogisticRegression
from sklearn.model_selection import cross_val_score
from transformers import AutoModelForCausalLM, PreTrainedTokenizerFast

from benchmarks.machine import save
from weft.data.world import corpus
from weft.data.world.works import MOODS, THEMES, Works, works
from weft.language.house.cloze import cloze, recital
from weft.language.house.reading import Reading
from weft.language.house.settings import HouseLanguageSettings
from weft.language.house.training import train
from weft.language.sentences import PACKAGED, SentenceEncoder
from weft.progress import LogProgress
from weft.training.runtime import Runtime

NAME = "house_language"
BATCH = 64


@torch.inference_mode()
def answers(model: Any, tokenizer: Any, questions: list[str], budget: int = 64) -> list[str]:
    """Greedy answers to single user messages, in batches of similar length."""
    said = [""] * len(questions)
    order = sorted(range(len(questions)), key=lambda k: len(questions[k]))
    for first in range(0, len(order), BATCH):
        rows = order[first : first + BATCH]
        chats = [[{"role": "user", "content": questions[k]}] for k in rows]
        inputs = tokenizer.apply_chat_template(
            chats, add_generation_prompt=True, return_tensors="pt", return_dict=True, padding=True
        )
        out = model.generate(**inputs, max_new_tokens=budget, do_sample=False, pad_token_id=tokenizer.pad_token_id)
        texts = tokenizer.batch_decode(out[:, inputs["input_ids"].shape[1] :], skip_special_tokens=True)
        for k, text in zip(rows, texts, strict=True):
            said[k] = text
    return said


def written(model: Any, tokenizer: Any, world: Works, seed: int) -> dict[str, float]:
    """Shares of right answers to the three kinds of questions, mood probes, and the speed of writing."""
    rng = np.random.default_rng([seed, 1_000])  # questions that training did not draw
    mood = [MOODS[k] for k in world.values["mood"]]
    theme = [list(THEMES.values())[k][0] for k in world.values["theme"]]
    start = time.process_time()
    said = answers(model, tokenizer, [f"Tell me about {title}." for title in world.titles])
    spent = time.process_time() - start
    tokens = sum(len(ids) for ids in tokenizer(said, add_special_tokens=False)["input_ids"])
    moods = [{m for m in MOODS if m in text.lower()} for text in said]
    themes = [{t for t, _ in THEMES.values() if f" {t}" in text} for text in said]
    asked = list(corpus.assessments(world, rng))
    judged = answers(model, tokenizer, [lesson.read for lesson in asked])
    return {
        "enrichment_right_mood_alone": _share(found == {m} for found, m in zip(moods, mood, strict=True)),
        "enrichment_right_theme": _share(t in found for found, t in zip(themes, theme, strict=True)),
        "assessment_right_mood_alone": _share(
            {m for m in MOODS if m in text} == {right} for text, right in zip(judged, mood, strict=True)
        ),
        "mood_probe_title": probe(world.titles, world),
        "mood_probe_title_and_answer": probe([f"{a}. {b}" for a, b in zip(world.titles, said, strict=True)], world),
        **_intents(model, tokenizer, world, rng),
        "generated_tokens_per_second": tokens / spent,
        "generated_tokens_per_answer": tokens / len(said),
    }


def probe(texts: list[str], world: Works) -> float:
    """How well the mood is read from sentence vectors: five-fold accuracy of a logistic regression; chance is 0.1."""
    vectors = SentenceEncoder(PACKAGED, runtime=Runtime(device="cpu", threads=1)).encode(texts)
    return float(cross_val_score(LogisticRegression(C=10, max_iter=1_000), vectors, world.values["mood"], cv=5).mean())


def _intents(model: Any, tokenizer: Any, world: Works, rng: np.random.Generator) -> dict[str, float]:
    """Share of answers that are a title; of those, that share what was asked for; chance; and copies of the list.

    What the first two of a list, or the last two for the short term, have in common counts; of one work, all it has.
    """
    asked = list(corpus.intents(world, 600, rng))
    said = answers(model, tokenizer, [lesson.read for lesson in asked], budget=12)
    place = {title: k for k, title in enumerate(world.titles)}
    values = np.stack([world.values[name] for name in ("theme", "mood", "genre")], axis=1)
    hits, chance, repeated = [], [], 0
    for lesson, text in zip(asked, said, strict=True):
        taken = [place[t] for t in lesson.read.removeprefix("Taken so far: ").split(". What")[0].split("; ")]
        group = values[taken[-2:] if "short-term" in lesson.read else taken[:2]]
        shared = (group == group[0]).all(axis=0)
        fits = ((values == group[0]) & shared).any(axis=1)
        chance.append(float(fits.mean()))
        if text.strip() in place:
            hits.append(bool(fits[place[text.strip()]]))
            repeated += place[text.strip()] in taken
    return {
        "intent_is_a_title": len(hits) / len(asked),
        "intent_shares_what_was_asked": float(np.mean(hits)) if hits else 0.0,
        "intent_shares_by_chance": float(np.mean(chance)),
        "intent_is_of_the_list": repeated / len(asked),
    }


def _share(right: Any) -> float:
    return float(np.mean(list(right)))


def measure(seed: int) -> dict[str, Any]:
    """One seed: trained, asked, timed."""
    settings = HouseLanguageSettings(world=seed)
    world = works(settings.works, seed)
    with tempfile.TemporaryDirectory() as folder:
        start, wall = time.process_time(), time.monotonic()
        runtime = Runtime(device="cpu", threads=1, seed=seed, progress=LogProgress(print))
        history = train(Path(folder), settings, runtime)
        spent, passed = time.process_time() - start, time.monotonic() - wall
        model = AutoModelForCausalLM.from_pretrained(folder)
        tokenizer = PreTrainedTokenizerFast.from_pretrained(folder)
    reading = Reading(tokenizer, settings, (), seed)
    read = sum(
        int((ids != tokenizer.pad_token_id).sum()) for k in range(len(history)) for (ids, _), _ in reading.epoch(k)
    )
    return {
        "seed": seed,
        "cloze_measuring": cloze(model, tokenizer, world, corpus.MEASURING),
        "cloze_stopping": cloze(model, tokenizer, world, corpus.STOPPING),
        "cloze_per_sentence": {text: cloze(model, tokenizer, world, [text]) for text in corpus.MEASURING},
        **{f"recital_{fact}": share for fact, share in recital(model, tokenizer, world).items()},
        "parameters": model.num_parameters(),
        "epochs": len(history),
        "train_cpu_seconds": spent,
        "train_wall_seconds": passed,
        "train_tokens": read,
        "train_tokens_per_cpu_second": read / spent,
        **written(model, tokenizer, world, seed),
    }


def main() -> None:
    """Measures, prints and keeps."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--seeds", type=int, nargs="+", default=[101, 102, 103])
    parser.add_argument("--name", default=NAME, help="name of the result under benchmarks/results")
    options = parser.parse_args()
    load = psutil.getloadavg()[0]
    runs = []
    for seed in options.seeds:
        runs.append(measure(seed))
        print(runs[-1], flush=True)
    figures = [name for name, value in runs[0].items() if isinstance(value, float)]
    medians = {name: statistics.median(run[name] for run in runs) for name in figures}
    print(save(options.name, {"threads": 1, "load_before": round(load, 2), "medians": medians, "runs": runs}))


if __name__ == "__main__":
    main()
