"""Writes the corpus: small inputs, made here, from which the fuzzer starts.

python -m tests.fuzz.seeds
"""

from __future__ import annotations

import dataclasses
import gzip
import io
import json
from pathlib import Path
from typing import Any

import imagecodecs
import numpy as np
import pillow_heif
import tifffile
import zstandard
from PIL import Image

from pyraface.client.people.people import SAID_BY, NamedFace, People
from pyraface.client.people.people_json import dumped
from pyraface.core.computed_by import ComputedBy
from pyraface.core.errors import ErrorCode
from pyraface.core.pages import Page, Unread
from pyraface.core.protocol import announcement
from pyraface.core.protocol.pairing import Exchange, Secret
from pyraface.core.results import Result
from tests.client.people.packets import microsoft, mwg, packet
from tests.core.images import icc, raw_files
from tests.core.images.files import encoded, png
from tests.core.images.test_packets import WITH_XMP, app1, exif_segment, extended, jpeg
from tests.core.protocol import vectors
from tests.support import parameters_xml

CORPUS = Path(__file__).resolve().parent / "corpus"


def frames() -> list[bytes]:
    """Each example of the protocol, a conversation, and the invalid frames."""
    examples = [data for _, data in vectors.examples("frame")]
    invalid = [frame for _, frame, _ in vectors.invalid_frames()]
    return [*examples, b"".join(examples[:6]), *invalid]


def datagrams() -> list[bytes]:
    """Each example of the protocol, and two that are foreign."""
    return [
        *(data for _, data in vectors.examples("datagram")),
        announcement.MAGIC,
        announcement.MAGIC + b"\x80",
    ]


def files() -> list[bytes]:
    """Every element, a file of the original's, and what XML can do to a reader."""
    original = (
        "<params><tiled_detect_params><upsample>1</upsample><height>600</height><width>400</width></tiled_detect_params>"
        "<ports><server_port_image_handle>5000</server_port_image_handle><server_port_ip_disc>5001</server_port_ip_disc>"
        "<client_return_port>5002</client_return_port></ports><timeout><connect_timeout>5</connect_timeout>"
        "<read_timeout>1.5e1</read_timeout></timeout></params>"
    )
    entities = (
        "<!DOCTYPE p [<!ENTITY a 'aaaa'><!ENTITY b '&a;&a;'><!ENTITY c SYSTEM 'file:///etc/passwd'>]>"
        "<params>&b;&c;</params>"
    )
    return [
        text.encode()
        for text in (
            parameters_xml(),
            parameters_xml(interfaces="eth0, wlan0", name="attic"),
            original,
            entities,
            "<?xml version='1.0' encoding='utf-16'?><params/>",
            "<params><!-- none --><daemon><credits>1</credits><credits>2</credits></daemon></params>",
        )
    ]


def pictures() -> list[bytes]:
    """A picture of 24 x 16 pixels in every format, and the kinds of each that take another way through its decoder."""
    y, x = np.mgrid[0:16, 0:24]
    colours = np.stack([x * 10, y * 15, (x + y) * 6], axis=-1).astype(np.uint8)
    picture = Image.fromarray(colours)
    gray16 = Image.fromarray((x * 2500 + y * 100).astype(np.uint16))
    exif = Image.Exif()
    exif[274] = 6
    xmp = b'<x:xmpmeta xmlns:x="adobe:ns:meta/"><rdf tiff:Orientation="8"/></x:xmpmeta>'
    pillow_heif.register_heif_opener()
    kinds: list[tuple[Image.Image, str, dict[str, object]]] = [
        (picture, "JPEG", {"exif": exif}),
        (picture, "JPEG", {"progressive": True, "icc_profile": b"not a profile", "xmp": xmp}),
        (picture.convert("CMYK"), "JPEG", {}),
        (picture.convert("L"), "JPEG", {}),
        (picture, "PNG", {"exif": exif}),
        (picture.convert("P"), "PNG", {"transparency": 3}),
        (picture.convert("1"), "PNG", {}),
        (picture.convert("RGBA"), "PNG", {"icc_profile": b"not a profile"}),
        (gray16, "PNG", {}),
        (picture, "WEBP", {"exif": exif}),
        (picture.convert("RGBA"), "WEBP", {"lossless": True}),
        (
            picture,
            "WEBP",
            {"save_all": True, "append_images": [picture.transpose(Image.Transpose.ROTATE_180)]},
        ),
        (
            picture,
            "PNG",
            {"save_all": True, "append_images": [picture.transpose(Image.Transpose.ROTATE_180)]},
        ),
        *(
            (Image.new("RGB", (24, 16)), kind, {"save_all": True, "append_images": [picture], **options})
            for kind, options in (
                ("GIF", {}),
                ("PNG", {"default_image": True}),
                ("WEBP", {}),
                ("AVIF", {}),
                ("TIFF", {}),
                ("MPO", {}),
                ("HEIF", {}),
            )
        ),
        (picture.convert("P"), "GIF", {}),
        (
            picture,
            "GIF",
            {"save_all": True, "append_images": [picture.transpose(Image.Transpose.ROTATE_180)]},
        ),
        (picture, "TIFF", {"tiffinfo": {274: 5}}),
        (picture, "TIFF", {"compression": "tiff_lzw"}),
        (picture, "TIFF", {"compression": "tiff_deflate"}),
        (picture, "TIFF", {"compression": "jpeg"}),
        (picture.convert("1"), "TIFF", {"compression": "group4"}),
        (gray16, "TIFF", {}),
        (picture.convert("F"), "TIFF", {}),
        (picture, "TIFF", {"big_tiff": True}),
        (picture, "BMP", {}),
        (picture.convert("P"), "BMP", {}),
        (picture, "AVIF", {"exif": exif}),
        (picture, "HEIF", {"exif": exif.tobytes()}),
    ]
    found = []
    for image, kind, options in kinds:
        stream = io.BytesIO()
        image.save(stream, kind, **options)
        found.append(stream.getvalue())
    wide = colours.astype(np.uint16) * 257
    for pixels, options in (
        (wide, {"byteorder": ">", "bigtiff": True}),
        (np.moveaxis(wide, -1, 0), {"planarconfig": "separate", "compression": "zlib"}),
        (wide / np.float32(65535), {"tile": (16, 16)}),
        (wide[..., 0], {"photometric": "miniswhite", "compression": "lzw", "predictor": 2}),
    ):
        stream = io.BytesIO()
        tifffile.imwrite(stream, pixels, metadata=None, **{"photometric": "rgb", **options})  # type: ignore[arg-type]
        found.append(stream.getvalue())
    stream = io.BytesIO()
    with tifffile.TiffWriter(stream) as file:
        pages: list[tuple[Any, dict[str, Any]]] = [
            (colours, {"subfiletype": 1}),
            (wide, {"extratags": [(274, "H", 1, 6, True)]}),
            (wide.astype(np.float64), {}),
            (colours[:9], {"compression": "zlib"}),
        ]
        for pixels, more in pages:
            file.write(pixels, photometric="rgb", metadata=None, **more)
    found.append(stream.getvalue())
    for make in raw_files.MAKERS.values():
        found.append(make(raw_files.jpeg(colours), 6))
    for options in (
        {"level": 90},
        {"lossless": True, "usecontainer": True},
        {"lossless": True, "bitspersample": 12},
    ):
        found.append(
            bytes(imagecodecs.jpegxl_encode(wide >> 4 if "bitspersample" in options else colours, **options))
        )
    # colours that are converted: by a profile, and by code points
    found.append(encoded(picture, "JPEG", icc_profile=icc.profile(icc.PROPHOTO)))
    rows = b"".join(b"\0" + row.tobytes() for row in colours)
    found.append(png(24, 16, 8, 2, rows, (b"cICP", bytes([9, 16, 0, 1]))))
    return found


def with_metadata() -> list[bytes]:
    """Pictures with XMP in every place that is looked at."""
    found = [make() for make in WITH_XMP.values()]
    digest = b"0123456789ABCDEF" * 2
    return [
        *found,
        jpeg(app1(digest), extended(digest, b"abc", 6, 0), extended(digest, b"def", 6, 3)),
        jpeg(exif_segment(6)),
    ]


def xmp_packets() -> list[bytes]:
    """Regions in every scheme and way of writing, and what XML can do to a reader."""
    box = (0.25, 0.125, 0.5, 0.375)
    kinds = [
        mwg([("Ada", box), (None, box)], size=(640, 480)),
        mwg([("Ada", (10, 20, 30, 40))], size=(480, 640), unit=None, kind=None),
        mwg([(None, box)], inside='<mwg-rs:Extensions apple-fi:FaceID="57"/>', kind="Pet"),
        microsoft([("Ada", box), ("Bob", None)]) + mwg([("Ada", box)]),
        "<mwg-rs:Regions rdf:parseType='Resource'><mwg-rs:RegionList><rdf:Seq><rdf:li rdf:parseType='Resource'>"
        "<mwg-rs:Area rdf:parseType='Resource'><stArea:h>0.25</stArea:h><stArea:w>0,25</stArea:w><stArea:x>1e-1</stArea:x>"
        "<stArea:y>NaN</stArea:y></mwg-rs:Area><mwg-rs:Name>Ada</mwg-rs:Name></rdf:li></rdf:Seq></mwg-rs:RegionList>"
        "</mwg-rs:Regions>",
    ]
    whole = [packet(kind) for kind in kinds]
    return [*whole, whole[0].decode().encode("utf-16"), files()[3] + whole[0]]


def picasa_files() -> list[bytes]:
    """Folders of both forms, contacts, and lines of no form."""
    faces = "[a.jpg]\nfaces=rect64(4000200080006000),a1;rect64(20008000ffff),ffffffffffffffff;rect64(),x\n"
    return [
        text.encode()
        for text in (
            f"[Picasa]\nname=x\n[Contacts2]\na1=Ada;;\n{faces}",
            f"[Contacts]\na1=joe_lh,2\n{faces}",
            "<contacts><contact id='a1' name='Ada'/></contacts>",
            "[DEFAULT]\n=\n[\n]\n",
        )
    ]


def people_files() -> list[bytes]:
    """Nobody, two faces of one person, and fields that are wrong."""
    people = People()
    box = (1.0, 2.5, 30.0, 40.0)
    for page, said_by in enumerate(SAID_BY):
        person = people.named("Ada").id if page else None
        people.say(NamedFace(f"sha256:{'0' * 64}", page, box, person, said_by))
    whole = dumped(people)
    return [dumped(People()), whole, whole.replace(b'"p1"', b"1"), whole.replace(b"30.0", b"NaN"), b"[]"]


def outputs() -> list[bytes]:
    """Lines of each kind, whole and cut off, and what else may be at their place."""
    done = Result(
        "a/b.jpg",
        *("sha256:00", 5, 7, "f"),
        computed_by=ComputedBy("onnx", "cpu", "0.1.0"),
        width=640,
        height=480,
        server="attic",
        seconds=0.5,
        pictures=2,
        pages=(Page(0, 640, 480, 1),),
        unread=(Unread(1, "z"),),
    )
    results = [
        done,
        dataclasses.replace(done, error=(ErrorCode.NOT_AN_IMAGE, "x")),
        Result("\udcff.jpg", error=(ErrorCode.UNREADABLE, "y")),
    ]
    lines = [json.dumps(result.as_json(), separators=(",", ":")).encode() + b"\n" for result in results]
    whole = b"".join(lines)
    former = b'{"path":"\\udcff.jpg","digest":null,"error":{"code":"x","message":"y"}}\n'
    early = b'{"path":"a","digest":null,"faces":[{"box":{},"confidence":1.0,"level":0,"encoding":[]}],"server":"x"}\n'
    others = [b'{"path":', b"\n", b"{}\n", former, early + former]
    return [*lines, whole, whole[:-9], whole + bytes(9) + b"\n", whole + b"[]\n", *others]


def compressed() -> list[bytes]:
    """Lines in one frame and in several, whole, cut off, with zeros, and damaged."""
    lines = b"".join(outputs()[:3])
    found = []
    for first, compress in ((b"\x00", gzip.compress), (b"\xff", zstandard.ZstdCompressor().compress)):
        frame = compress(lines)
        zeros = frame[:200] + bytes(64) + frame[264:]
        for data in (
            frame,
            frame * 2,
            frame[:-9],
            frame + bytes(70),
            zeros + frame,
            frame[:90] + b"x" + frame[91:],
        ):
            found.append(first + data)
    return found


def pairs() -> list[bytes]:
    """The share of either side and one of nobody's, and a key as it is sealed, and not."""
    shares = [Exchange("1234-5678", asks=asks).share for asks in (True, False)]
    sealed = Secret(bytes(32)).seal(bytes(32))
    return [shares[0] + sealed, shares[1], b"A" + bytes(32) + sealed[:-1], Secret(bytes(32)).confirmation]


def networks() -> list[bytes]:
    """The size of a network's input, and numbers for its outputs: likely ones, and those at the ends of their range."""
    likely = np.random.default_rng(0).normal(0.6, 0.5, 40).astype(np.float32)
    ends = np.array([1, np.inf, -np.inf, 3e38, -3e38, 1e-45, 0.31, -0.0], np.float32)
    not_a_number = np.array([1, 1, 1, np.nan], np.float32)
    return [
        b"",
        b"\x00",
        *(bytes([1, 2]) + numbers.tobytes() for numbers in (likely, ends, not_a_number)),
        bytes([7, 7]) + likely[:3].tobytes(),
    ]


def main() -> None:
    """Replaces the inputs made here; those that the fuzzer found, named by their hash, stay."""
    payloads = [frame[4:] for frame in frames() if len(frame) > 4]
    seeds = {
        "codec": frames(),
        "payload": payloads,
        "datagram": datagrams(),
        "xml": files(),
        "image": pictures(),
        "size": pictures(),
        "metadata": with_metadata(),
        "xmp": xmp_packets(),
        "picasa": picasa_files(),
        "people": people_files(),
        "journal": outputs(),
        "compressed": compressed(),
        "pairing": pairs(),
        "outputs": networks(),
    }
    for target, inputs in seeds.items():
        folder = CORPUS / target
        folder.mkdir(parents=True, exist_ok=True)
        for former in folder.glob("[0-9][0-9]"):
            former.unlink()
        for number, data in enumerate(inputs):
            (folder / f"{number:02}").write_bytes(data)


if __name__ == "__main__":
    main()
