"""RecBole's side of ``benchmarks/agreement.py``: runs in RecBole's environment, prints each file that it writes."""

from __future__ import annotations

import json
import logging
import os
import tempfile
from pathlib import Path
from typing import Any

import torch
from recbole.config import Config
from recbole.data import create_dataset
from recbole.data.interaction import Interaction
from recbole.utils import get_model

from benchmarks.agreement import ANSWERS, HISTORIES, MODELS, weights

_LENGTHS = [len(history) for history in HISTORIES]


def _write(folder: Path) -> None:
    """The histories in RecBole's file format; the position inside a history stands for the time."""
    rows = ((user, item, place) for user, history in enumerate(HISTORIES, 1) for place, item in enumerate(history))
    lines = ["user_id:token\titem_id:token\ttimestamp:float", *("\t".join(map(str, row)) for row in rows)]
    folder.mkdir()
    (folder / "histories.inter").write_text("\n".join(lines) + "\n")


def _answers(name: str, settings: dict[str, Any], folder: Path) -> dict[str, Any]:
    """Settings, histories, shapes of all tensors and the scores of the items from 1, for one model."""
    config = Config(
        model=name,
        dataset="histories",
        config_dict={
            "data_path": str(folder),
            "load_col": {"inter": ["user_id", "item_id", "timestamp"]},
            "MAX_ITEM_LIST_LENGTH": max(_LENGTHS),
            "use_gpu": False,
            **settings,
        },
    )
    dataset = create_dataset(config)
    for field, count in (("user_id", len(HISTORIES)), ("item_id", max(map(max, HISTORIES)))):
        if list(dataset.field2id_token[field][1:]) != [str(number) for number in range(1, count + 1)]:
            raise SystemExit(f"RecBole does not number {field} in the order of the file")
    model = get_model(name)(config, dataset).eval()
    tensors = {key: list(tensor.shape) for key, tensor in model.state_dict().items()}
    model.load_state_dict({key: torch.from_numpy(weights(key, shape)) for key, shape in tensors.items()})
    query = Interaction(
        {
            "user_id": torch.arange(1, len(HISTORIES) + 1),
            "item_id_list": torch.tensor([history + [0] * (max(_LENGTHS) - len(history)) for history in HISTORIES]),
            "item_length": torch.tensor(_LENGTHS),
        }
    )
    with torch.no_grad():
        scores = model.full_sort_predict(query).view(len(HISTORIES), -1)[:, 1:]
    answers = scores.double().numpy().round(6).tolist()
    return {"settings": settings, "histories": HISTORIES, "tensors": tensors, "scores": answers}


def main() -> None:
    """Records every model."""
    logging.disable(logging.INFO)
    with tempfile.TemporaryDirectory() as scratch:
        os.chdir(scratch)  # RecBole leaves logs where it stands
        _write(Path(scratch) / "histories")
        for name, settings in MODELS.items():
            file = ANSWERS / f"{name.lower()}.json"
            file.write_text(json.dumps(_answers(name, settings, Path(scratch))) + "\n")
            print(name, file.name)


if __name__ == "__main__":
    main()
