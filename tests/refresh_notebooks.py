"""Run notebooks and store them in normal form: `make notebooks`.

Kept in git: the sources, the cell ids, and the text outputs of cells tagged `nbval-check-output`, which are compared
when the tests run. Images, widgets and the order of execution are not kept, so that diffs can be read.
"""

from __future__ import annotations

import os
import sys
from pathlib import Path

import nbformat
from nbclient import NotebookClient

CHECKED = "nbval-check-output"
KERNEL = {"display_name": "Python 3", "language": "python", "name": "python3"}


def text_outputs(cell):
    """The outputs of a cell as plain text: printed lines and results."""
    kept = []
    for output in cell.outputs:
        if output.output_type == "stream" and output.name == "stdout":
            # A slow machine sends what a cell prints in pieces.
            if kept and kept[-1].output_type == "stream":
                kept[-1].text += output.text
            else:
                kept.append(output)
        elif output.output_type == "execute_result" and "text/plain" in output.data:
            output.execution_count = None
            output.metadata = nbformat.from_dict({})
            output.data = nbformat.from_dict({"text/plain": output.data["text/plain"]})
            kept.append(output)
    return kept


def normalise(notebook):
    """Leave only what belongs in git."""
    notebook.metadata = nbformat.from_dict({"kernelspec": KERNEL, "language_info": {"name": "python"}})
    notebook.nbformat, notebook.nbformat_minor = 4, 5
    for cell in notebook.cells:
        cell.metadata.pop("execution", None)
        if cell.cell_type == "code":
            cell.outputs = text_outputs(cell) if CHECKED in cell.metadata.get("tags", []) else []
            # nbval takes a cell with outputs but without a count for one that was never run.
            cell.execution_count = 1 if cell.outputs else None
    return notebook


def as_text(notebook) -> str:
    """The file as it is stored."""
    return nbformat.writes(notebook, version=4).rstrip("\n") + "\n"


def refresh(path: Path) -> None:
    notebook = nbformat.read(path, as_version=4)
    here = {"metadata": {"path": path.parent}}
    NotebookClient(notebook, timeout=600, kernel_name="python3", resources=here).execute()
    path.write_text(as_text(normalise(notebook)), encoding="utf8")


def main(paths) -> None:
    os.environ["TQDM_DISABLE"] = "1"
    os.environ.pop("RMT_LIB_STATIC", None)
    for path in map(Path, paths):
        print(f"running {path}", flush=True)
        refresh(path)


if __name__ == "__main__":
    main(sys.argv[1:])
