"""The files of a data set, in a folder or in a zip archive that is read in place."""

from __future__ import annotations

import hashlib
import os
import zipfile
import zlib
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from functools import lru_cache
from pathlib import Path, PurePosixPath

from facepipe.core.errors import MISSING_FILE, EnvironmentTroubleError, SampleError, UsageError
from facepipe.imaging.file_kinds import HEAD_BYTES
from facepipe.imaging.images import MAX_FILE_BYTES

PHOTO_SUFFIXES = frozenset(
    {".jpg", ".jpeg", ".jpe", ".jfif", ".png", ".webp", ".bmp", ".tif", ".tiff", ".gif", ".avif", ".jp2"}
)

_SPELLED_SUFFIXES = PHOTO_SUFFIXES | {suffix.upper() for suffix in PHOTO_SUFFIXES}


@dataclass(frozen=True)
class FileTree:
    """Files below a root, named by their path below it with '/' as separator.

    Small and picklable: an archive is opened once in each process that reads it.

    Attributes:
        source: a folder or a zip archive.
        below: folder inside the source at which the root lies, '' for the source itself.
    """

    source: Path
    below: str = ""

    @property
    def is_zip(self) -> bool:
        """Whether the source is an archive."""
        return self.source.is_file()

    def at(self, folder: str) -> FileTree:
        """The tree whose root is a folder of this one."""
        return FileTree(self.source, self._full(folder))

    def path(self, name: str = "") -> str:
        """How messages call a file."""
        return str(self.source / self._full(name))

    def place(self, name: str, size_bytes: int) -> tuple[Path, int]:
        """The file on disk that holds a file of this tree, an archive for its members, and its bytes."""
        if self.is_zip:
            return self.source, self.source.stat().st_size
        return self.source / self._full(name), size_bytes

    def walk(self) -> Iterator[tuple[str, int]]:
        """Every file below the root with its size in bytes; hidden files and folders are left out.

        Raises:
            UsageError: the source is missing or no zip archive, or a folder may not be read.
            EnvironmentTroubleError: a folder cannot be read for another reason.
        """
        if self.is_zip:
            yield from self._walk_zip()
        else:
            yield from self._walk_folder()

    def names(self, deepest: int | None = None) -> Iterator[str]:
        """Every file that `walk` finds, without asking for its size.

        Args:
            deepest: how many folders below the root to look; None for all.

        Raises:
            UsageError, EnvironmentTroubleError: as `walk`.
        """
        if self.is_zip:
            names = (name for name, _ in self._walk_zip())
            yield from (name for name in names if deepest is None or name.count("/") <= deepest)
            return
        with _listing(self.source / self.below):
            for folder, _, files in self._os_walk(deepest):
                for name in files:
                    if not name.startswith("."):
                        yield _writable((folder / name).as_posix())

    def folders(self, folder: str = "") -> list[str]:
        """Names of the folders directly in a folder below the root, sorted.

        Raises:
            UsageError: the source is missing or no zip archive, or the folder may not be read.
            EnvironmentTroubleError: the folder cannot be read for another reason.
        """
        full = self._full(folder)
        if self.is_zip:
            return sorted(_folders_of_zip(*_identity(self.source)).get(full, ()))
        root = self.source / full
        if not root.is_dir():
            raise UsageError(f"{root}: no such folder; expected the folder or zip archive of a data set")
        with _listing(root), os.scandir(root) as entries:
            return sorted(e.name for e in entries if e.is_dir() and not e.name.startswith("."))

    def exists(self, name: str) -> bool:
        """Whether there is such a file."""
        if self.is_zip:
            return self._full(name) in _open_zip(*_identity(self.source)).NameToInfo
        return (self.source / self._full(name)).is_file()

    def earlier_twin(self, photo: str) -> str | None:
        """The photo with the same id that stands before this one by name, or None.

        Asks for the few possible names instead of listing the folder, which may hold a hundred thousand.
        """
        for twin in sorted(stem(photo) + suffix for suffix in _SPELLED_SUFFIXES):
            if twin < photo and self.exists(twin) and not self._is_same(twin, photo):
                return twin
        return None

    def head(self, name: str) -> bytes:
        """The first bytes of a file, b'' where it cannot be read."""
        try:
            if self.is_zip:
                with _open_zip(*_identity(self.source)).open(self._full(name)) as member:
                    return member.read(HEAD_BYTES)
            with (self.source / self._full(name)).open("rb") as file:
                return file.read(HEAD_BYTES)
        except (OSError, zipfile.BadZipFile, zlib.error, NotImplementedError, RuntimeError, KeyError):
            return b""

    def read(self, name: str) -> bytes:
        """The bytes of a file.

        Raises:
            SampleError: missing-file, unreadable-file, outside-link, file-too-large or corrupt-zip-member.
        """
        return self._read_zip(name) if self.is_zip else self._read_file(name)

    def _is_same(self, name: str, other: str) -> bool:
        """Whether two names are one file, as on a file system that ignores case."""
        if self.is_zip or not self.exists(other):
            return False
        return (self.source / self._full(name)).samefile(self.source / self._full(other))

    def _full(self, name: str) -> str:
        return "/".join(part for part in (self.below, name) if part)

    def _walk_folder(self) -> Iterator[tuple[str, int]]:
        root = self.source / self.below
        with _listing(root):
            for folder, _, _ in self._os_walk():
                with os.scandir(root / folder) as entries:
                    for entry in entries:
                        if not entry.name.startswith(".") and entry.is_file():
                            yield _writable((folder / entry.name).as_posix()), entry.stat().st_size

    def _os_walk(self, deepest: int | None = None) -> Iterator[tuple[Path, list[str], list[str]]]:
        """`os.walk` with folders below the root, in the order of their names, without hidden ones."""
        root = self.source / self.below
        if not root.is_dir():
            raise UsageError(f"{root}: no such folder; expected the folder or zip archive of a data set")
        for folder, folders, files in os.walk(root, onerror=_refuse):
            relative = Path(folder).relative_to(root)
            is_last = deepest is not None and len(relative.parts) >= deepest
            folders[:] = [] if is_last else sorted(name for name in folders if not name.startswith("."))
            yield relative, folders, files

    def _walk_zip(self) -> Iterator[tuple[str, int]]:
        start = f"{self.below}/" if self.below else ""
        for info in _open_zip(*_identity(self.source)).infolist():
            if info.filename.startswith(start) and not info.is_dir():
                name = info.filename[len(start) :]
                if not any(part.startswith((".", "__MACOSX")) for part in name.split("/")):
                    yield name, info.file_size

    def _read_file(self, name: str) -> bytes:
        path = self.source / self._full(name)
        try:
            _check_inside(path, self.source)
            _check_size(path.stat().st_size, path)
            return path.read_bytes()
        except FileNotFoundError as error:
            if "\\udc" in name:
                raise SampleError(
                    "unreadable-name", f"{path}: the file's name is not UTF-8; rename it"
                ) from error
            raise SampleError(MISSING_FILE, f"{path}: the file is gone") from error
        except PermissionError as error:
            raise SampleError("unreadable-file", f"{path}: {error.strerror}") from error

    def _read_zip(self, name: str) -> bytes:
        archive = _open_zip(*_identity(self.source))
        info = archive.NameToInfo.get(self._full(name))
        if info is None:
            raise SampleError(MISSING_FILE, f"{self.path(name)}: the archive has no such member")
        _check_size(info.file_size, self.path(name))
        try:
            with archive.open(info) as member:
                data = member.read(info.file_size + 1)
        except (zipfile.BadZipFile, zlib.error, EOFError, RuntimeError, NotImplementedError) as error:
            raise SampleError(
                "corrupt-zip-member",
                f"{self.path(name)}: cannot be unpacked ({error}); get the archive again",
            ) from error
        if len(data) != info.file_size:
            raise SampleError(
                "corrupt-zip-member",
                f"{self.path(name)}: {len(data)} bytes where the archive promises {info.file_size}",
            )
        return data


def _refuse(error: OSError) -> None:
    raise error


@contextmanager
def _listing(root: Path) -> Iterator[None]:
    """Name the folder that cannot be listed: what lies in it must not be left out silently.

    Raises:
        UsageError: it may not be read.
        EnvironmentTroubleError: it cannot be read for another reason.
    """
    try:
        yield
    except OSError as error:
        place, why = error.filename or root, error.strerror or error
        if isinstance(error, PermissionError):
            raise UsageError(
                f"{place}: cannot be listed: {why}; make it readable, or move it out of the data set"
            ) from error
        raise EnvironmentTroubleError(f"{place}: cannot be listed: {why}; repeat the command") from error


def _writable(name: str) -> str:
    """A name that tables can hold: bytes that are not UTF-8 become escapes, which no file is called."""
    return name.encode("utf-8", "backslashreplace").decode()


def stem(name: str) -> str:
    """A file's path without its extension."""
    return PurePosixPath(name).with_suffix("").as_posix()


def is_photo(name: str) -> bool:
    """Whether a file is a photo, by its name."""
    return PurePosixPath(name).suffix.lower() in PHOTO_SUFFIXES


def file_sha256(path: Path) -> str:
    """Hex digest of a file's bytes, worked out once in a process as long as the file does not change."""
    return _sha256(*_identity(path))


def _check_inside(path: Path, source: Path) -> None:
    """A link inside a data set may lead to another of its files, and nowhere else."""
    if not path.resolve(strict=True).is_relative_to(source.resolve()):
        raise SampleError(
            "outside-link", f"{path}: a link out of the data set; put the file itself there, or a hard link"
        )


def _check_size(size_bytes: int, path: object) -> None:
    if size_bytes > MAX_FILE_BYTES:
        raise SampleError("file-too-large", f"{path}: {size_bytes} bytes, at most {MAX_FILE_BYTES} are read")


def _identity(path: Path) -> tuple[Path, int, int]:
    """What an archive is remembered by: it is opened again once it has changed."""
    state = path.stat()
    return path, state.st_size, state.st_mtime_ns


@lru_cache(maxsize=16)
def _sha256(path: Path, size: int, mtime_ns: int) -> str:  # noqa: ARG001
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()


@lru_cache(maxsize=2)
def _open_zip(path: Path, size: int, mtime_ns: int) -> zipfile.ZipFile:  # noqa: ARG001
    try:
        return zipfile.ZipFile(path)
    except (zipfile.BadZipFile, OSError) as error:
        raise UsageError(
            f"{path}: no readable zip archive ({error}); expected a data set's folder or zip"
        ) from error


@lru_cache(maxsize=2)
def _folders_of_zip(path: Path, size: int, mtime_ns: int) -> dict[str, set[str]]:
    """The folders directly in each folder of an archive."""
    found: dict[str, set[str]] = {}
    for folder in {name.rpartition("/")[0] for name in _open_zip(path, size, mtime_ns).namelist()}:
        parts = folder.split("/") if folder else []
        for depth, part in enumerate(parts):
            if part.startswith((".", "__MACOSX")):
                break
            found.setdefault("/".join(parts[:depth]), set()).add(part)
    return found
