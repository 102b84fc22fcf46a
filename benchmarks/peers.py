"""The public libraries that we compare with, each in a virtual environment of its own.

``peer_python("recbole")`` returns the interpreter of ``benchmarks/.peers/recbole``, made on first use. Versions are
pinned, so that a ratio measured today can be measured again. ``python -m benchmarks.peers`` makes all of them.
"""

from __future__ import annotations

import hashlib
import shutil
import subprocess
import sys
from dataclasses import dataclass
from pathlib import Path

ROOT = Path(__file__).parent / ".peers"


@dataclass(frozen=True)
class Peer:
    """One library: what is installed, and a statement that fails when its SASRec cannot be used."""

    requirements: tuple[str, ...]
    check: str


PEERS = {
    # RecBole 1.2.1 predates numpy 2 and pandas 3; ray 2.6.3 and thop still import pkg_resources. All have one torch;
    # that torch.load refuses RecBole's checkpoints since 2.6 does not matter here.
    "recbole": Peer(
        ("recbole==1.2.1", "torch==2.15.0", "numpy==1.26.4", "pandas==2.2.3", "scipy==1.11.4", "setuptools==80.9.0"),
        "from recbole.model.sequential_recommender import SASRec; from recbole.data import create_dataset",
    ),
    "rectools": Peer(
        ("rectools[torch]==0.19.0", "torch==2.15.0"),
        "from rectools.models import SASRecModel",
    ),
    "replay": Peer(
        ("replay-rec[torch]==0.22.0", "torch==2.15.0"),
        "from replay.nn.sequential import SasRec",
    ),
}


def peer_python(name: str) -> Path:
    """The interpreter that has the library ``name``; its environment is made anew when the pins have changed."""
    peer, folder = PEERS[name], ROOT / name
    python, stamp = folder / "bin" / "python", folder / "installed"
    digest = hashlib.sha256("\n".join((*peer.requirements, peer.check)).encode()).hexdigest()
    if not (stamp.exists() and stamp.read_text() == digest):
        beside = Path(sys.executable).with_name("uv")
        uv = str(beside) if beside.exists() else shutil.which("uv")
        if uv is None:
            raise SystemExit("uv is missing: install the 'dev' extra")
        subprocess.run([uv, "venv", "--clear", "--quiet", "--python", sys.executable, str(folder)], check=True)
        subprocess.run([uv, "pip", "install", "--quiet", "--python", str(python), *peer.requirements], check=True)
        subprocess.run([str(python), "-W", "ignore", "-c", peer.check], check=True)
        stamp.write_text(digest)
    return python


if __name__ == "__main__":
    for each in PEERS:
        print(each, peer_python(each).relative_to(ROOT.parent), flush=True)
