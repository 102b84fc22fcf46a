"""CIT-Rec on the storefront, part by part, where the truth is known: does the image branch help, and only then?

    python -m benchmarks.cit_rec_storefront                               # seeds 201, 202 and 203: hours
    python -m benchmarks.cit_rec_storefront --preset tiny --seeds 0       # a trial

A seed is that of the shop and of every fit. The world is always world 0, so that the house models are trained once, in
the first shop, and copied into the others. Of each seed there is a second shop without taste for pictures, in which
nothing can be gained from them. What is finished is not made again.
"""

from __future__ import annotations

import argparse
import json
import shutil
import sys
import time
from pathlib import Path
from typing import Any

from benchmarks import judged_pairs as pairs
from benchmarks.judged_pairs import Shop, difference, figures, name_of, weft
from benchmarks.machine import RESULTS, save
from benchmarks.shuffled_images import SHUFFLED, scored_with_shuffled_images
from weft.systems.registry import SYSTEMS

NAME = "cit_rec_storefront"
SEEDS = [201, 202, 203]
PROTOCOL = "pointwise_time"
STORAGE = Path(__file__).parent / ".storage" / NAME
PEERS = ("sasrec", "bert4rec", "cl4srec", "sgl", "xsimgcl")
"""Models without a language model that the paper compares with."""
BESIDE = (*PEERS, "popularity", "ceiling", "oracle")
ONCE = "zero_shot"
"""The variant that writes before it answers: made for the first seed alone."""

FULL, IMAGELESS = name_of("cit_rec"), name_of("cit_rec", "without_image")
ASKED = (
    (FULL, IMAGELESS, "all"),
    (FULL, IMAGELESS, "new items"),
    (FULL, name_of("cit_rec", "without_user"), "all"),
    (FULL, name_of("cit_rec", "plain_network"), "all"),
    (FULL, name_of("cit_rec", "plain_network"), "new items"),
    (FULL, name_of("cit_rec", "without_text_title"), "all"),
    (FULL, name_of("cit_rec", "text_only"), "all"),
    *((FULL, peer, "all") for peer in PEERS),
    (SHUFFLED, FULL, "all"),
)
"""Which differences of AUC are told."""


def prepare(seed: int, options: argparse.Namespace, *, image_taste: bool) -> Shop:
    """One shop with all its systems, made where they do not stand yet."""
    kind = "" if image_taste else "-no-image-taste"
    shop = Shop(options.storage.resolve() / f"{options.preset}-{seed}{kind}", "storefront", PROTOCOL, seed)
    variants = ["full", "without_image"]
    if image_taste:
        variants = [name for name in SYSTEMS["cit_rec"].variants if name != ONCE or seed == options.seeds[0]]
    if shop.finished(variants):
        return shop
    shop.storage.mkdir(parents=True, exist_ok=True)
    if options.house is not None and not (shop.storage / "house").exists():
        shutil.copytree(options.house / "house", shop.storage / "house")
    settings = [f"settings.{name}={value}" for name, value in
                {"seed": seed, "world": 0, "preset": options.preset, "image_taste": image_taste}.items()]  # fmt: skip
    weft("datasets", "add", shop.dataset, *_set(settings), storage=shop.storage)
    systems = ",".join(["cit_rec", *(BESIDE if image_taste else ())])
    weft(
        "run", "--dataset", shop.dataset, "--systems", systems, "--protocols", PROTOCOL, "--variants",
        ",".join(variants), "--seeds", str(seed), *_set(options.set), storage=shop.storage,
    )  # fmt: skip
    return shop


def _set(settings: list[str]) -> list[str]:
    return [word for setting in settings for word in ("--set", setting)]


def measure(options: argparse.Namespace) -> dict[str, Any]:
    """All shops, their figures, and the differences that are asked for."""
    with_taste, without_taste, started = [], [], time.monotonic()
    for seed in options.seeds:
        for image_taste, kept in ((True, with_taste), (False, without_taste)):
            shop = prepare(seed, options, image_taste=image_taste)
            options.house = options.house or shop.storage  # trained in the first shop, taken by all others
            scored = shop.scored()
            if image_taste:
                scored[SHUFFLED] = scored_with_shuffled_images(shop)
            kept.append(figures(scored, shop.trained_items()))
    told = [found for a, b, part in ASKED if (found := difference(with_taste, a, b, part))]
    control = difference(without_taste, IMAGELESS, FULL)
    first = Shop(options.storage.resolve() / f"{options.preset}-{options.seeds[0]}", "storefront", PROTOCOL,
                 options.seeds[0])  # fmt: skip
    return {
        "preset": options.preset,
        "seeds": options.seeds,
        "minutes_of_this_run": round((time.monotonic() - started) / 60, 1),
        "systems": pairs.table(with_taste),
        "first_seed_only": _once(with_taste),
        "differences": told,
        "systems_without_image_taste": pairs.table(without_taste),
        "difference_without_image_taste": control,
        "costs_of_first_seed": pairs.costs(first),
        "holds": judged(told, control),
    }


def _once(shops: pairs.Shops) -> list[dict[str, Any]]:
    """What the first shop alone has."""
    common = {row["system"] for row in pairs.table(shops)}
    return [row for row in pairs.table(shops[:1]) if row["system"] not in common]


def judged(told: list[dict[str, Any]], control: dict[str, Any] | None) -> dict[str, bool]:
    """What must hold: pictures help where tastes show in them, harm when mixed up, and are not missed elsewhere."""
    on_all = {(row["a"], row["b"]): row["ci"] for row in told if row["slice"] == "all"}
    missing = [None, None]
    gain, shuffled = on_all.get((FULL, IMAGELESS), missing), on_all.get((SHUFFLED, FULL), missing)
    plain = control["ci"] if control else missing
    return {
        "full > without_image": gain[0] is not None and gain[0] > 0,
        "shuffled images < full": shuffled[1] is not None and shuffled[1] < 0,
        "without image taste: without_image is no worse": plain[1] is not None and plain[1] >= 0,
    }


def text(result: dict[str, Any]) -> str:
    """The result for the page."""
    control = result["difference_without_image_taste"]
    bounds = "; ".join(f"{name}: {'yes' if holds else 'no'}" for name, holds in result["holds"].items())
    seeds = ", ".join(map(str, result["seeds"]))
    return "\n\n".join(
        [
            f"Preset `{result['preset']}`, seeds {seeds}, {pairs.machine(result)}. {bounds}.",
            pairs.markdown([*result["systems"], *result["first_seed_only"]], result["differences"]),
            "With image taste switched off:",
            pairs.markdown(result["systems_without_image_taste"], [control] if control else []),
        ]
    )


def main() -> None:
    """Measures, prints and keeps; exit status 1 if a bound does not hold."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--seeds", type=int, nargs="+", default=SEEDS)
    parser.add_argument("--preset", default="default", choices=["tiny", "default", "large"])
    parser.add_argument("--storage", type=Path, default=STORAGE)
    parser.add_argument("--house", type=Path, help="storage whose house models are taken instead of training them")
    parser.add_argument("--set", action="append", default=[], help="passed to `weft run`, for a trial")
    parser.add_argument("--name", default=NAME, help="of the result under benchmarks/results")
    parser.add_argument("--render", action="store_true", help="measure nothing, put the kept result into the page")
    options = parser.parse_args()
    if options.render:
        pairs.render(NAME, text(json.loads((RESULTS / f"{options.name}.json").read_text())))
        return
    path = save(options.name, measure(options))
    result = json.loads(path.read_text())
    print(text(result), f"\n\nkept in {path}")
    sys.exit(0 if all(result["holds"].values()) else 1)


if __name__ == "__main__":
    main()
