"""Opens a product's zip as if it came from an enemy.

No name from the zip ever becomes a path: the members that we know by their full names are copied, counted while they
are read, to names of our own in a folder of our own. Everything else in the zip is never unpacked.
"""

from __future__ import annotations

import errno
import stat
import zipfile
import zlib
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from sagwatch.errors import BadProductError, TryAgainError
from sagwatch.settings import ProductSettings

#: Rasters that are taken out, and whether a product is useless without them.
LAYERS = {
    "unw_phase": True,
    "corr": True,
    "dem": True,
    "lv_theta": True,
    "lv_phi": True,
    "conncomp": False,
    "water_mask": False,
}
#: Rasters are compressed inside already; a real zip hardly shrinks them further, a constant mask shrinks a lot.
LIMIT_RATIO = 200
_SMALL_BYTES = 64 * 2**20
_LIMIT_TEXT_BYTES = 256 * 1024
_CHUNK_BYTES = 1 << 20
#: The disk is to blame, and not the product: full, over quota, a file too large for it, broken, out of handles.
_OUR_DISK = {errno.ENOSPC, errno.EDQUOT, errno.EFBIG, errno.EIO, errno.EROFS, errno.EMFILE, errno.ENFILE}
_DAMAGE = (zipfile.BadZipFile, zlib.error, EOFError, NotImplementedError, RuntimeError, ValueError, OSError)


@dataclass(frozen=True, slots=True)
class UnpackedProduct:
    """The parts of a product that we use, in files with our own names."""

    name: str
    parameters_text: str
    layers: dict[str, Path]


def unpack_product(zip_file: Path, folder: Path, limits: ProductSettings) -> UnpackedProduct:
    """Check a zip and copy what we use of it into an empty folder.

    Raises
    ------
    BadProductError
        It is damaged, too large, incomplete, or tries to do what a product never does; the text says which.
    TryAgainError
        Our own disk would not take it.
    """
    if not zipfile.is_zipfile(zip_file):
        with zip_file.open("rb") as file:
            head = file.read(40)
        raise BadProductError(f"not a complete zip; it begins with {head!r}")
    try:
        with zipfile.ZipFile(zip_file) as archive:
            members = _checked_members(archive.infolist(), zip_file.stat().st_size, limits)
            name = _top_folder(members)
            _refuse_if_incomplete(name, members)
            return _copy_what_we_use(archive, name, members, folder, limits)
    except _DAMAGE as problem:
        if isinstance(problem, OSError) and problem.errno in _OUR_DISK:
            # A paid product must not be condemned because there is no room for it.
            raise TryAgainError(
                f"the product cannot be unpacked into {folder}: {problem.strerror}"
            ) from problem
        raise BadProductError(f"damaged zip: {problem}") from problem


def _checked_members(
    infos: Sequence[zipfile.ZipInfo], zip_bytes: int, limits: ProductSettings
) -> dict[str, zipfile.ZipInfo]:
    """Members by name, after everything that the zip's own list can tell."""
    if len(infos) > limits.limit_members:
        raise BadProductError(f"{len(infos)} members, at most {limits.limit_members} are allowed")
    members: dict[str, zipfile.ZipInfo] = {}
    folded: set[str] = set()
    for info in infos:
        _refuse_odd_member(info)
        if info.filename.casefold() in folded:
            raise BadProductError(f"two members are called {info.filename!r}")
        folded.add(info.filename.casefold())
        if not info.is_dir():
            members[info.filename] = info
    unpacked = sum(info.file_size for info in infos)
    if unpacked > limits.limit_unpacked_bytes:
        raise BadProductError(f"unpacks to {unpacked} bytes, the limit is {limits.limit_unpacked_bytes}")
    if unpacked > _SMALL_BYTES and unpacked > LIMIT_RATIO * zip_bytes:
        raise BadProductError(f"unpacks to {unpacked // zip_bytes} times its size")
    return members


def _refuse_odd_member(info: zipfile.ZipInfo) -> None:
    name = info.orig_filename
    if "\0" in name or "\\" in name or ":" in name or not name.isascii() or not name.isprintable():
        raise BadProductError(f"a member has a name that no product uses: {name!r}")
    parts = name.rstrip("/").split("/")
    if name.startswith("/") or ".." in parts or "." in parts or "" in parts:
        raise BadProductError(f"a member wants to be written outside of its folder: {name!r}")
    kind = stat.S_IFMT(info.external_attr >> 16)
    if kind not in (0, stat.S_IFREG, stat.S_IFDIR):
        raise BadProductError(f"member {name!r} is a link or a device")
    if info.flag_bits & 0x1:
        raise BadProductError(f"member {name!r} is encrypted")
    if info.compress_type not in (zipfile.ZIP_STORED, zipfile.ZIP_DEFLATED):
        raise BadProductError(f"member {name!r} is compressed in a way that HyP3 does not use")


def _top_folder(members: dict[str, zipfile.ZipInfo]) -> str:
    tops = sorted({name.split("/", 1)[0] for name in members})
    if len(tops) != 1 or any("/" not in name for name in members):
        raise BadProductError(f"not one folder at the top but {', '.join(tops[:5]) or 'nothing'}")
    return tops[0]


def _refuse_if_incomplete(name: str, members: dict[str, zipfile.ZipInfo]) -> None:
    wanted = [f"{layer}.tif" for layer, needed in LAYERS.items() if needed]
    missing = [part for part in wanted if f"{name}/{name}_{part}" not in members]
    missing += [] if f"{name}/{name}.txt" in members else ["parameter file"]
    if missing:
        raise BadProductError(f"incomplete, without {', '.join(missing)}")


def _copy_what_we_use(
    archive: zipfile.ZipFile,
    name: str,
    members: dict[str, zipfile.ZipInfo],
    folder: Path,
    limits: ProductSettings,
) -> UnpackedProduct:
    layers: dict[str, Path] = {}
    left = limits.limit_unpacked_bytes
    for layer in LAYERS:
        info = members.get(f"{name}/{name}_{layer}.tif")
        if info is not None:
            layers[layer] = folder / f"{layer}.tif"
            left -= _copy(archive, info, layers[layer], min(left, info.file_size))
    text_file = folder / "parameters.txt"
    _copy(archive, members[f"{name}/{name}.txt"], text_file, _LIMIT_TEXT_BYTES)
    try:
        text = text_file.read_text(encoding="utf-8")
    except UnicodeDecodeError as problem:
        raise BadProductError("the parameter file is not text") from problem
    return UnpackedProduct(name, text, layers)


def _copy(archive: zipfile.ZipFile, info: zipfile.ZipInfo, target: Path, limit_bytes: int) -> int:
    """Copy one member; its checksum is verified by reading it to the end."""
    written = 0
    with archive.open(info) as source, target.open("xb") as file:
        while chunk := source.read(_CHUNK_BYTES):
            written += len(chunk)
            if written > limit_bytes:
                raise BadProductError(
                    f"member {info.filename!r} is larger than it says, or than {limit_bytes} bytes"
                )
            file.write(chunk)
    if written != info.file_size:
        raise BadProductError(f"member {info.filename!r} has {written} bytes and says {info.file_size}")
    return written
