"""RecBole's own creation and preparation of a data set for SASRec: one row per prefix, held in memory.

Making its input file is not in the time.
"""

from __future__ import annotations

import logging
import os
import sys
import warnings
from pathlib import Path
from zipfile import ZipFile

from recbole.config import Config
from recbole.data import create_dataset, data_preparation
from recbole.utils import init_seed

from benchmarks.ingest.outcome import report

NAME = "ratings"


def main() -> None:
    """Reads the zip ``argv[1]``; files go under ``argv[2]``."""
    warnings.simplefilter("ignore")
    logging.disable(logging.INFO)
    zipped, folder = sys.argv[1], Path(sys.argv[2])
    (folder / NAME).mkdir(parents=True)
    ratings = ZipFile(zipped).read("ml-1m/ratings.dat").decode().replace("::", "\t")
    header = "user_id:token\titem_id:token\trating:float\ttimestamp:float\n"
    (folder / NAME / f"{NAME}.inter").write_text(header + ratings)
    os.chdir(folder)  # RecBole leaves logs where it stands
    settings = {
        "data_path": str(folder),
        "load_col": {"inter": ["user_id", "item_id", "rating", "timestamp"]},
        "eval_args": {"split": {"LS": "valid_and_test"}, "order": "TO", "mode": "full", "group_by": "user"},
        "train_neg_sample_args": None,
        "loss_type": "CE",
        "use_gpu": False,
        "show_progress": False,
    }
    config = Config(model="SASRec", dataset=NAME, config_dict=settings)
    init_seed(0, reproducibility=False)

    def work() -> dict[str, int]:
        dataset = create_dataset(config)
        train, _, test = data_preparation(config, dataset)
        return {"rows": len(train.dataset), "test": len(test.dataset)}

    report(work)


if __name__ == "__main__":
    main()
