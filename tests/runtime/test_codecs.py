from __future__ import annotations

import multiprocessing
import os
import shutil
import struct
import subprocess
import sys
import threading
import time
from io import BytesIO
from pathlib import Path
from typing import Any

import numpy as np
import pydicom
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from numpy.typing import NDArray
from pydicom import Dataset
from pydicom.encaps import encapsulate, encapsulate_extended
from pydicom.pixels.decoders.rle import _rle_decode_frame

import syntaxes
from gliomart.errors import InputRefusedError
from gliomart.sources import codecs, codestream, rle, wall
from gliomart.sources.budget import Budget
from gliomart.sources.isolation import DecoderProcess
from samples import SHARED, needs_real_images

RLE = "1.2.840.10008.1.2.5"
JPEG_LS = "1.2.840.10008.1.2.4.80"
JPEG_2000 = "1.2.840.10008.1.2.4.90"

needs_decoders = pytest.mark.skipif(
    not all(syntax.available for syntax in codecs.SYNTAXES), reason="the extra dicom is missing"
)


def _parse(data: bytes) -> Dataset:
    return wall.parse_stream(BytesIO(data), len(data), pixels=True)


def _frames(data: bytes) -> NDArray[np.integer]:
    return np.stack(list(codecs.frames(_parse(data))))


def _code(dataset: Dataset, budget: Budget | None = None) -> str:
    with pytest.raises(InputRefusedError) as refused:
        list(codecs.frames(dataset, budget or Budget()))
    assert "\n" not in str(refused.value)
    return refused.value.code


def _encapsulated(uid: str, encoded: bytes, frames: int = 1, **more: Any) -> Dataset:
    """Put encoded pixels into a data set as wall.parse gives it."""
    dataset = syntaxes.dataset_of(syntaxes.pixels_in(uid), uid)
    if frames > 1:
        dataset.NumberOfFrames = frames
    for keyword, value in more.items():
        setattr(dataset, keyword, value)
    dataset.PixelData = encoded
    dataset["PixelData"].VR = "OB"
    return dataset


def _item(value: bytes) -> bytes:
    return struct.pack("<HHL", 0xFFFE, 0xE000, len(value)) + value


@needs_decoders
@pytest.mark.parametrize("syntax", codecs.SYNTAXES, ids=lambda syntax: syntax.name)
def test_one_picture_comes_out_of_every_syntax(syntax: codecs.Syntax) -> None:
    (frame,) = _frames(syntaxes.file_in(syntax.uid))
    difference = np.abs(frame.astype(int) - syntaxes.pixels_in(syntax.uid))
    assert difference.max() <= syntaxes.LOSS.get(syntax.uid, 0)
    assert frame.dtype.kind == "u"


@needs_decoders
@pytest.mark.parametrize("uid", [wall.EXPLICIT, wall.BIG_ENDIAN, RLE, JPEG_LS, JPEG_2000])
def test_negative_values_keep_their_sign(uid: str) -> None:
    signed = syntaxes.picture().astype(np.int16) - 2000
    (frame,) = _frames(syntaxes.file_in(uid, signed))
    assert np.array_equal(frame, signed)


@pytest.mark.parametrize("signed", [True, False])
@pytest.mark.parametrize("uid", [wall.EXPLICIT, RLE])
def test_bits_that_are_not_stored_are_left_out(uid: str, *, signed: bool) -> None:
    values = syntaxes.picture().astype(np.int16) - (2000 if signed else 0)
    overlay = np.random.default_rng(0).integers(0, 16, values.shape, np.uint16)
    junk = ((values.view(np.uint16) & 0x0FFF) | overlay << 12).view(np.int16 if signed else "u2")
    dataset = syntaxes.with_pixels(uid, junk, bits=16)
    dataset.BitsStored, dataset.HighBit = 12, 11
    (frame,) = codecs.frames(dataset)
    assert np.array_equal(frame, values)
    dataset = syntaxes.with_pixels(uid, (junk << 4) | 5, bits=16)  # in the upper twelve bits
    dataset.BitsStored, dataset.HighBit = 12, 15
    (frame,) = codecs.frames(dataset)
    assert np.array_equal(frame, values)


@pytest.mark.parametrize("uid", [wall.EXPLICIT, wall.IMPLICIT, RLE])
def test_frames_come_one_by_one(uid: str) -> None:
    (first, second, third) = _frames(syntaxes.frames_in(uid))
    assert np.array_equal(first, syntaxes.picture())
    assert np.array_equal(second, syntaxes.picture()[::-1])
    assert np.array_equal(third, syntaxes.picture().T)


def test_what_has_no_decoder_is_refused_by_name() -> None:
    dataset = _encapsulated("1.2.840.10008.1.2.4.102", encapsulate([b"12"]))
    with pytest.raises(InputRefusedError, match="MPEG-4") as refused:
        list(codecs.frames(dataset))
    assert refused.value.code == "unsupported-transfer-syntax"
    dataset.file_meta.TransferSyntaxUID = "1.2.3.4"
    assert _code(dataset) == "unsupported-transfer-syntax"


def test_a_missing_decoder_names_its_extra(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(codecs, "find_spec", lambda _: None)
    dataset = _encapsulated(JPEG_LS, encapsulate([b"12"]))
    with pytest.raises(InputRefusedError, match=r"gliomart\[dicom\]") as refused:
        list(codecs.frames(dataset))
    assert refused.value.code == "missing-codec"
    assert [syntax.uid for syntax in codecs.SYNTAXES if syntax.available] == [
        syntax.uid for syntax in codecs.SYNTAXES if syntax.extra is None
    ]


def test_the_table_names_every_syntax_once() -> None:
    assert len({syntax.uid for syntax in codecs.SYNTAXES}) == len(codecs.SYNTAXES)
    for syntax in codecs.SYNTAXES:
        assert pydicom.uid.UID(syntax.uid).is_transfer_syntax or syntax.decoder == "deflate"


def test_what_is_no_greyscale_image_is_refused() -> None:
    assert _code(syntaxes.dataset_of(syntaxes.picture())) == "no-pixels"
    colour = syntaxes.with_pixels(wall.EXPLICIT, syntaxes.picture())
    colour.SamplesPerPixel = 3
    assert _code(colour) == "not-greyscale"


def test_what_is_beyond_the_budget_is_not_decoded() -> None:
    dataset = syntaxes.with_pixels(RLE, syntaxes.picture())
    assert _code(dataset, Budget(frame_bytes=8191)) == "too-many-pixels"
    dataset.Rows = dataset.Columns = 65535
    assert _code(dataset) == "too-many-pixels"


@pytest.mark.parametrize(
    "encoded",
    [
        b"",
        _item(b""),
        _item(b"") + _item(b""),
        _item(b"") + _item(b"1"),
        _item(b"") + struct.pack("<HHL", 0xFFFE, 0xE000, 0xFFFFFFFF),
        _item(struct.pack("<L", 0xFFFFFFF0)) + _item(b"12"),
        _item(b"123") + _item(b"12"),
        b"\1\2\3\4\5\6\7\x08",
        _item(b"") + b"\xfe\xff",
        _item(b"") + _item(bytes(64)),
        _item(b"") + _item(struct.pack("<16L", 2, 64, 64, *[0] * 13)),
        _item(b"") + _item(struct.pack("<16L", 2, 64, 0xFFFFFFFF, *[0] * 13) + bytes(100)),
        _item(b"") + _item(struct.pack("<16L", 15, *[64] * 15) + bytes(100)),
    ],
)
@pytest.mark.parametrize("frames", [1, 3])
@pytest.mark.parametrize("uid", [RLE, syntaxes.DEFLATED_FRAMES])
def test_fragments_that_lie_are_refused(uid: str, encoded: bytes, frames: int) -> None:
    assert _code(_encapsulated(uid, encoded, frames)) == "undecodable"


def test_fragments_are_put_together_right() -> None:
    pixels = syntaxes.picture()
    frame = syntaxes.encoded(syntaxes.DEFLATED_FRAMES, pixels)
    assert frame is not None
    parts = [frame[:1000], frame[1000:2000], frame[2000:]]
    table = struct.pack("<2L", 0, sum(len(part) + 8 for part in parts))
    pieces = b"".join(map(_item, parts))

    def decoded(encoded: bytes, frames: int, **more: Any) -> NDArray[np.integer]:
        dataset = _encapsulated(syntaxes.DEFLATED_FRAMES, encoded, frames, **more)
        return np.stack(list(codecs.frames(dataset)))

    assert np.array_equal(decoded(_item(b"") + pieces, 1)[0], pixels)
    assert np.array_equal(decoded(_item(table) + pieces * 2, 2), [pixels, pixels])
    wrong = _item(struct.pack("<2L", 0, 12345)) + pieces * 2
    assert _code(_encapsulated(syntaxes.DEFLATED_FRAMES, wrong, 2)) == "undecodable"
    # A frame for each fragment needs no table, so that a wrong one does no harm.
    one_each = _item(struct.pack("<2L", 7, 3)) + _item(frame) * 2
    assert np.array_equal(decoded(one_each, 2), [pixels, pixels])
    data, offsets, lengths = encapsulate_extended([frame, frame])
    for lie in (offsets, b"\xff" * 16):
        extended = {"ExtendedOffsetTable": lie, "ExtendedOffsetTableLengths": lengths}
        assert np.array_equal(decoded(data, 2, **extended), [pixels, pixels])


def test_deflated_frames_inflate_no_further_than_a_frame() -> None:
    bomb = syntaxes.encoded(syntaxes.DEFLATED_FRAMES, np.zeros(1 << 25, np.uint16))
    assert bomb is not None
    dataset = _encapsulated(syntaxes.DEFLATED_FRAMES, encapsulate([bomb]))
    (frame,) = codecs.frames(dataset)
    assert frame.shape == (64, 64)
    short = syntaxes.encoded(syntaxes.DEFLATED_FRAMES, np.zeros(100, np.uint16))
    assert short is not None
    assert _code(_encapsulated(syntaxes.DEFLATED_FRAMES, encapsulate([short]))) == "undecodable"


@pytest.mark.filterwarnings("ignore:The decoded RLE segment contains")
@given(
    st.lists(
        st.one_of(
            st.integers(0, 127).flatmap(lambda n: st.binary(min_size=n + 1, max_size=n + 1).map(
                lambda data, n=n: bytes([n]) + data)),
            st.tuples(st.integers(129, 255), st.integers(0, 255)).map(bytes),
            st.just(b"\x80"),
        ),
        max_size=30,
    ).map(b"".join),
    st.integers(1, 1500),
)  # fmt: skip
@settings(deadline=None, max_examples=200)
def test_rle_is_decoded_as_pydicom_does(segment: bytes, count: int) -> None:
    frame = struct.pack("<16L", 1, 64, *[0] * 14) + segment
    try:
        decoded = rle.decode(frame, count, 8)
    except ValueError:
        decoded = b""
    try:
        expected = bytes(_rle_decode_frame(frame, 1, count, 1, 8))
    except ValueError:
        expected = b""
    if segment.count(b"\x80") < 2 or decoded:  # no encoder writes what stands for nothing
        assert decoded == expected


def test_rle_that_decodes_to_nothing_or_to_gigabytes_ends_at_the_frame() -> None:
    header = struct.pack("<16L", 1, 64, *[0] * 14)
    with pytest.raises(ValueError, match="0 bytes"):
        rle.decode(header + b"\x80" * 500_000_000, 4096, 8)  # a minute, byte by byte
    assert rle.decode(header + b"\x81\x07" * 25_000_000, 4096, 8) == b"\x07" * 4096


@pytest.mark.parametrize("uid", [JPEG_LS, JPEG_2000, syntaxes.BASELINE])
@needs_decoders
def test_a_codestream_that_contradicts_the_file_is_refused(uid: str) -> None:
    whole = syntaxes.with_pixels(uid, syntaxes.pixels_in(uid))
    for keyword in ("Rows", "Columns"):
        dataset = _parse(syntaxes.written(whole))
        setattr(dataset, keyword, 32)
        assert _code(dataset) == "undecodable"


@pytest.mark.parametrize(
    "frame",
    [
        b"", b"\xff", b"\xff\xd8", b"\xff\xd8\xff", b"\xff\xd8\xff\xd9",
        b"\xff\xd8\xff\xda\0\2\xff\xd9",
        b"\xff\xd8\xff\xc0\0\x0b\xff\xd9", b"\xff\xd8abc\xff\xd9", b"\xff\x4f\xff\x51", b"GIF89a",
        b"\xff\xd8" + b"\xff\xe0\0\0" * 9 + b"\xff\xd9", b"\0\0\0\x0cjP  \r\n\x87\n",
        b"\xff\xd8" + b"\xff" * 50 + b"\xd9",
    ],
)  # fmt: skip
def test_what_is_no_codestream_is_refused(frame: bytes) -> None:
    with pytest.raises(InputRefusedError) as refused:
        codestream.read(frame)
    assert refused.value.code == "undecodable"


@given(st.binary(max_size=200), st.sampled_from([b"", b"\xff\xd8", b"\xff\x4f\xff\x51"]))
@settings(deadline=None)
def test_arbitrary_codestreams_are_read_or_refused(tail: bytes, start: bytes) -> None:
    for frame in (start + tail, start + tail + b"\xff\xd9"):
        try:
            stream = codestream.read(frame)
        except InputRefusedError:
            continue
        assert 1 <= stream.precision <= 32


@needs_decoders
def test_jpeg_ls_without_an_end_is_refused_at_once() -> None:
    """It takes CharLS four seconds to find this one out."""
    frame = codecs._encapsulated(_parse(syntaxes.file_in(JPEG_LS)), 1)[0]
    cut = _encapsulated(JPEG_LS, encapsulate([frame[:-4] + b"\0\1\0\0"]))
    with pytest.raises(InputRefusedError, match="no end"):
        list(codecs.frames(cut))


@needs_decoders
class TestDecoderProcess:
    @pytest.fixture
    def process(self) -> Any:
        process = DecoderProcess()
        yield process
        process.stop()

    @pytest.fixture
    def frame(self) -> bytes:
        encoded = _parse(syntaxes.file_in(JPEG_LS))
        return codestream.read(codecs._encapsulated(encoded, 1)[0]).data

    @staticmethod
    def decode(process: DecoderProcess, frame: bytes, **changes: Any) -> bytes:
        given = {"shape": (64, 64), "precision": 12, "seconds": 20.0} | changes
        return process.decode("pyjpegls", frame, **given)

    def test_decodes(self, process: DecoderProcess, frame: bytes) -> None:
        assert self.decode(process, frame) == syntaxes.picture().tobytes()

    def test_is_replaced_when_it_dies(self, process: DecoderProcess, frame: bytes) -> None:
        for _ in range(3):
            self.decode(process, frame)
            assert process._process is not None
            process._process.kill()
            process._process.wait()
        assert self.decode(process, frame)

    def test_its_death_in_a_frame_is_a_refusal(
        self, process: DecoderProcess, frame: bytes, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        self.decode(process, frame)
        running = process._process
        assert running is not None
        monkeypatch.setattr(running, "poll", lambda: None)  # it dies after it was looked at
        running.kill()
        running.wait()
        with pytest.raises(InputRefusedError, match="crashed") as refused:
            self.decode(process, frame)
        assert refused.value.code == "undecodable"
        monkeypatch.undo()
        assert self.decode(process, frame)

    def test_is_killed_when_it_takes_too_long(self, process: DecoderProcess, frame: bytes) -> None:
        with pytest.raises(InputRefusedError) as refused:
            self.decode(process, frame, seconds=0.001)  # less than it takes to start
        assert refused.value.code == "too-slow"
        assert self.decode(process, frame)

    def test_a_refusal_of_the_decoder_is_handed_on(self, process: DecoderProcess) -> None:
        with pytest.raises(InputRefusedError, match="JPEG-LS") as refused:
            self.decode(process, b"nothing")
        assert refused.value.code == "undecodable"

    def test_values_of_another_size_are_refused(
        self, process: DecoderProcess, frame: bytes
    ) -> None:
        with pytest.raises(InputRefusedError, match="8192 bytes come out instead of 4096"):
            self.decode(process, frame, shape=(64, 32))

    @pytest.mark.skipif(sys.platform != "linux", reason="only Linux limits a process's memory")
    def test_its_memory_is_limited(self, process: DecoderProcess, frame: bytes) -> None:
        at = frame.index(b"\xff\xf7") + 5
        huge = frame[:at] + struct.pack(">HH", 25000, 25000) + frame[at + 4 :]
        with pytest.raises(InputRefusedError, match=r"MemoryError|bad_alloc|memory"):
            self.decode(process, huge)
        assert self.decode(process, frame)

    def test_threads_share_it(self, process: DecoderProcess, frame: bytes) -> None:
        results: list[bytes] = []
        threads = [
            threading.Thread(target=lambda: results.append(self.decode(process, frame)))
            for _ in range(8)
        ]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()
        assert set(results) == {syntaxes.picture().tobytes()}
        assert len(results) == 8

    @pytest.mark.skipif(not hasattr(os, "fork"), reason="the platform does not fork")
    def test_a_forked_process_starts_its_own(self, process: DecoderProcess, frame: bytes) -> None:
        self.decode(process, frame)
        assert process._process is not None
        mine = process._process.pid

        def child(answer: Any) -> None:
            decoded = self.decode(process, frame)
            assert process._process is not None
            answer.put((decoded, process._process.pid))
            process.stop()

        context = multiprocessing.get_context("fork")
        answer: Any = context.SimpleQueue()
        forked = context.Process(target=child, args=(answer,))
        forked.start()
        decoded, other = answer.get()
        forked.join()
        assert decoded == syntaxes.picture().tobytes()
        assert other != mine
        assert self.decode(process, frame)

    @pytest.mark.skipif(sys.platform != "linux", reason="looks into /proc")
    def test_ends_with_its_parent(self, tmp_path: Path) -> None:
        (tmp_path / "file").write_bytes(syntaxes.file_in(JPEG_LS))
        code = (
            "import os, sys; from pathlib import Path; from gliomart.sources import codecs, wall\n"
            "list(codecs.frames(wall.parse(Path('file'), pixels=True)))\n"
            "print(codecs._process._process.pid, flush=True); os.kill(os.getpid(), 9)"
        )
        done = subprocess.run(
            [sys.executable, "-c", code],
            stdout=subprocess.PIPE,
            check=False,
            cwd=tmp_path,
            env=os.environ | {"PYTHONPATH": os.pathsep.join(filter(None, sys.path))},
        )
        status = Path("/proc") / done.stdout.decode().strip() / "status"
        deadline = time.monotonic() + 10
        while status.exists() and "zombie" not in status.read_text():
            assert time.monotonic() < deadline
            time.sleep(0.01)

    def test_a_folder_called_dl_does_not_break_gdcm(self, tmp_path: Path) -> None:
        (tmp_path / "dl").mkdir()
        (tmp_path / "file").write_bytes(syntaxes.file_in(syntaxes.EXTENDED))
        code = (
            "from pathlib import Path; from gliomart.sources import codecs, wall\n"
            "(frame,) = codecs.frames(wall.parse(Path('file'), pixels=True)); print(frame.shape)"
        )
        done = subprocess.run(
            [sys.executable, "-c", code],
            capture_output=True,
            text=True,
            check=False,
            cwd=tmp_path,
            env=os.environ | {"PYTHONPATH": os.pathsep.join(filter(None, sys.path))},
        )
        assert done.stdout == "(64, 64)\n", done.stderr


FILES = {
    "693_J2KR.dcm": None, "MR2_J2KI.dcm": None, "RG3_J2KR.dcm": None, "nema-ct1_j2ki.dcm": None,
    "emri_small_jpeg_2k_lossless.dcm": None, "JLSL_16_15_1_1F.dcm": "dcmdjpls",
    "emri_small_jpeg_ls_lossless.dcm": "dcmdjpls", "JPEG-LL.dcm": "dcmdjpeg",
    "nema-ct1_jpll.dcm": "dcmdjpeg", "nema-mr1_jply.dcm": "dcmdjpeg",
    "emri_small_RLE.dcm": "dcmdrle",
}  # fmt: skip


@needs_real_images
@needs_decoders
@pytest.mark.parametrize("name", FILES)
def test_files_of_scanners_decode_as_elsewhere(name: str, tmp_path: Path) -> None:
    """By DCMTK, or for JPEG 2000, which it lacks, by GDCM inside of SimpleITK."""
    path, tool = SHARED / "dicom" / "codecs" / name, FILES[name]
    frames = np.stack(list(codecs.frames(wall.parse(path, pixels=True))))
    if tool is None:
        sitk = pytest.importorskip("SimpleITK")
        reader = sitk.ImageFileReader()
        reader.SetImageIO("GDCMImageIO")
        reader.SetFileName(str(path))
        header = pydicom.dcmread(path, stop_before_pixels=True)
        modality = sitk.GetArrayFromImage(reader.Execute())
        slope, intercept = header.get("RescaleSlope", 1), header.get("RescaleIntercept", 0)
        expected = np.rint((modality - float(intercept)) / float(slope))
        if header.PhotometricInterpretation == "MONOCHROME1":  # which ITK turns around
            expected = 2**header.BitsStored - 1 - expected
    else:
        if shutil.which(tool) is None:
            pytest.skip(f"{tool} of DCMTK is not installed")
        native = tmp_path / "native.dcm"
        subprocess.run([tool, str(path), str(native)], check=True, capture_output=True)
        expected = pydicom.dcmread(native).pixel_array
    assert np.array_equal(frames.reshape(expected.shape), expected)


@needs_real_images
@pytest.mark.parametrize(
    ("name", "native"),
    [("emri_small_big_endian.dcm", "emri_small.dcm"), ("emri_small_RLE.dcm", "emri_small.dcm"),
     ("liver_deflate.dcm", "liver.dcm")],
)  # fmt: skip
def test_twins_of_native_files_decode_alike(name: str, native: str) -> None:
    folder = SHARED / "dicom" / "codecs"
    decoded = np.stack(list(codecs.frames(wall.parse(folder / name, pixels=True))))
    assert np.array_equal(decoded, pydicom.dcmread(folder / native).pixel_array)
