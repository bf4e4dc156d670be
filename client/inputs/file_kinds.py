"""File kinds: which files of a directory are photographs, and what the others are."""

from __future__ import annotations

import enum
import os
import stat
from collections.abc import Mapping

from ...core.images.signatures import HEAD_BYTES, is_photograph

_PHOTOGRAPHS = """
.jpg .jpeg .jpe .jfif .jif .jps .mpo .png .apng .webp .gif .tif .tiff .bmp .dib .psd .psb
.heic .heif .hif .heics .heifs .avci .avcs .avif .avifs .jp2 .j2k .j2c .jpc .jpf .jpm .jpx .jxl .jxr .hdp .wdp
.3fr .ari .arw .bay .cr2 .cr3 .crw .cs1 .dcr .dcs .dng .drf .eip .erf .fff .gpr .iiq .k25 .kdc .mdc .mef .mos .mrw .nef
.nrw .orf .ori .pef .ptx .pxn .raf .raw .rw2 .rwl .rwz .sr2 .srf .srw .x3f
"""

_VIDEOS = """
.3g2 .3gp .avi .divx .flv .insv .lrv .m2ts .m2v .m4v .mkv .mod .mov .mp4 .mpeg .mpg .mts .ogv .ts .vob .webm .wmv
"""

_OTHERS = """
.aae .bak .bin .bup .cfg .cos .csv .css .ctg .dat .db .dll .doc .docx .exe .gpx .gz .htm .html .ico .idx .ifo .ini .js .json
.jsonl .kml .lnk .log .m3u .m4a .md .mp3 .nfo .ods .odt .pdf .php .picasa .plist .pp3 .py .rar .rtf .srt .svg .tar
.tmp .txt .url .wav .wpl .xcf .xls .xlsx .xml .xmp .yaml .yml .zip
"""

PHOTOGRAPHS = frozenset(_PHOTOGRAPHS.split())
"""Suffixes of photographs, camera raw included: such a file always has a line in the output, with faces or an error."""

VIDEOS = frozenset(_VIDEOS.split())

OTHERS = frozenset(_OTHERS.split())
"""Suffixes of files that lie beside photographs and are none: they are not opened. A file of any other suffix is judged by
its first bytes: cameras and programs use more suffixes than any list has."""


class Skipped(enum.Enum):
    """Kind of an entry of a directory that is not taken, with its name for one and for many."""

    VIDEO = "video", "videos"
    LINKED_FOLDER = "linked folder", "linked folders"
    SYSTEM_FOLDER = "folder of the system", "folders of the system"
    HIDDEN = "hidden entry", "hidden entries"
    EXCLUDED = "excluded entry", "excluded entries"
    OTHER = "other file", "other files"


def kind_of_file(name: str, path: str) -> Skipped | None:
    """Returns the kind of a file, None for a photograph. A file of an unknown suffix is opened."""
    suffix = os.path.splitext(name)[1].lower()
    if suffix in PHOTOGRAPHS:
        return None
    if suffix in VIDEOS:
        return Skipped.VIDEO
    if suffix in OTHERS:
        return Skipped.OTHER
    head = _head(path)
    return None if head is None or is_photograph(head) else Skipped.OTHER


def in_words(counts: Mapping[Skipped, int]) -> str:
    """Returns the kinds that were skipped and how many of each, "" if nothing was."""
    words = []
    for kind in Skipped:
        if count := counts.get(kind, 0):
            one, many = kind.value
            words.append(f"{count} {one if count == 1 else many}")
    return ", ".join(words)


def _head(path: str) -> bytes | None:
    """Returns the first bytes of a regular file; none of another, or of one that cannot be read.

    None where another program keeps the file for itself for a while (a lease): reading it waits.
    """
    try:
        # O_NONBLOCK: a pipe has no writer, perhaps for ever
        file = os.open(path, os.O_RDONLY | os.O_NONBLOCK | os.O_CLOEXEC)
    except BlockingIOError:
        return None
    except OSError:
        return b""
    try:
        return os.read(file, HEAD_BYTES) if stat.S_ISREG(os.fstat(file).st_mode) else b""
    except OSError:
        return b""
    finally:
        os.close(file)
