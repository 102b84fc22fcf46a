"""What the fork server of a run imports once, so that every step is a fork that starts at once.

Imported by nothing else: definitions must load without torch. Not here: anything with a thread, a handle or a lock,
which would not survive the fork.
"""

import atexit
import os

import lightning_fabric  # noqa: F401
import torch  # noqa: F401

import pipelines.cli
import pipelines.definitions  # noqa: F401
import weft.models.itemknn
import weft.models.sasrec  # noqa: F401

# The server has nothing to clean up, and taking apart what it imported prints complaints of native libraries on the
# terminal. Steps leave by os._exit themselves and never come here.
atexit.register(os._exit, 0)
