"""The environment of the kernels that the tests start."""

import os

# No progress bars, and the live form of a figure: the static one belongs to the build of the book.
os.environ["TQDM_DISABLE"] = "1"
os.environ.pop("RMT_LIB_STATIC", None)
