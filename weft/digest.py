"""A digest of a model folder, by which its vectors and answers are told from those of other weights."""

from __future__ import annotations

import hashlib
from pathlib import Path


def of_folder(folder: Path) -> str:
    """SHA-256 over the names and bytes of all files in ``folder``, in hexadecimal; hidden files do not count."""
    digest = hashlib.sha256()
    for path in sorted(folder.rglob("*")):
        name = path.relative_to(folder).as_posix()
        if path.is_file() and not any(part.startswith(".") for part in name.split("/")):
            with path.open("rb") as file:
                digest.update(f"{len(name)}:{name}:{hashlib.file_digest(file, 'sha256').hexdigest()}\n".encode())
    return digest.hexdigest()
