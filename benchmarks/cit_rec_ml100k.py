"""CIT-Rec on MovieLens-100K with posters, from the public files to figures with intervals, past against future.

    python -m benchmarks.cit_rec_ml100k --source ml-100k.zip --images posters.zip --image-map posters.tsv

The house models have never read of a film: what titles could tell a language model that knows films is not in these
figures. Without arguments the files are looked for in the folder that WEFT_TEST_DATA names.
"""

from __future__ import annotations

import argparse
import json
import os
import shutil
import time
from pathlib import Path
from typing import Any

from benchmarks import judged_pairs as pairs
from benchmarks.judged_pairs import Shop, difference, figures, name_of, weft
from benchmarks.machine import RESULTS, save
from resources.artifacts import ArtifactStore
from weft.cells import Cell

NAME = "cit_rec_ml100k"
FILES = {"source": "ml-100k.zip", "images": "ml-1m-posters.zip", "image_map": "ml-100k-poster-map.tsv"}
VARIANTS = ("full", "without_user", "without_image", "text_only", "plain_network")
BESIDE = ("sasrec", "bert4rec", "cl4srec", "sgl", "xsimgcl", "popularity")
FULL = name_of("cit_rec")


def prepare(options: argparse.Namespace) -> Shop:
    """All systems on the data set, made where they do not stand yet."""
    shop = Shop(options.storage.resolve(), "ml-100k", "pointwise_time", options.seed)
    if shop.finished(VARIANTS):
        return shop
    shop.storage.mkdir(parents=True, exist_ok=True)
    if options.house is not None and not (shop.storage / "house").exists():
        shutil.copytree(options.house / "house", shop.storage / "house")
    settings = [word for setting in options.set for word in ("--set", setting)]
    weft(
        "run", "--dataset", shop.dataset, "--source", options.source, "--images", options.images, "--image-map",
        options.image_map, "--systems", ",".join(["cit_rec", *BESIDE]), "--protocols", shop.protocol, "--variants",
        ",".join(VARIANTS), "--seeds", str(options.seed), *settings, storage=shop.storage,
    )  # fmt: skip
    return shop


def measure(options: argparse.Namespace) -> dict[str, Any]:
    """Figures of all systems, and the whole system against each of the others."""
    started = time.monotonic()
    shop = prepare(options)
    minutes = (time.monotonic() - started) / 60
    store, data = ArtifactStore(shop.storage), Cell(shop.dataset)
    with_image = store.read("interactions.items", data)["has_image"]
    measured = [figures(shop.scored(), shop.trained_items())]
    others = [*(name_of("cit_rec", variant) for variant in VARIANTS[1:]), *BESIDE]
    return {
        "seed": options.seed,
        "minutes_of_this_run": round(minutes, 1),
        "items": len(with_image),
        "items_with_poster": int(with_image.sum()),
        "systems": pairs.table(measured),
        "differences": [found for other in others if (found := difference(measured, FULL, other))],
        "costs": pairs.costs(shop),
    }


def text(result: dict[str, Any]) -> str:
    """The result for the page."""
    posters = f"{result['items_with_poster']:,} of {result['items']:,} films with a poster"
    about = f"Seed {result['seed']}, {posters}, {pairs.machine(result)}."
    return f"{about}\n\n{pairs.markdown(result['systems'], result['differences'])}"


def main() -> None:
    """Measures, prints and keeps."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    folder = os.environ.get("WEFT_TEST_DATA")
    for name, file in FILES.items():
        default = Path(folder) / file if folder else None
        parser.add_argument(f"--{name.replace('_', '-')}", type=Path, default=default, help=f"such as {file}")
    parser.add_argument("--storage", type=Path, default=Path(__file__).parent / ".storage" / NAME)
    parser.add_argument("--house", type=Path, help="storage whose house models are taken instead of training them")
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--set", action="append", default=[], help="passed to `weft run`, for a trial")
    parser.add_argument("--name", default=NAME, help="of the result under benchmarks/results")
    parser.add_argument("--render", action="store_true", help="measure nothing, put the kept result into the page")
    options = parser.parse_args()
    if options.render:
        pairs.render(NAME, text(json.loads((RESULTS / f"{options.name}.json").read_text())))
        return
    if missing := [name for name in FILES if getattr(options, name) is None or not getattr(options, name).exists()]:
        parser.error(f"no file for --{missing[0].replace('_', '-')}: name it, or set WEFT_TEST_DATA to its folder")
    path = save(options.name, measure(options))
    print(text(json.loads(path.read_text())), f"\n\nkept in {path}")


if __name__ == "__main__":
    main()
