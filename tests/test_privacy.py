"""Nothing is sent or fetched, and nothing of the source but its pictures and sound gets into a file."""

import io
import json
import socket
import sys
import threading
from fractions import Fraction

import av
import numpy as np
import pytest
from head_clips import head_frames
from PIL import Image
from vector_parts import SMALL, file_bytes, recording as made, with_chunk

from bcdcodec.container import open_bcd
from bcdcodec.container.chunks import pack_chunk
from bcdcodec.errors import VideoError
from bcdcodec.video.source import open_source

SECRETS = ("Canon-7781", "+52.5200+013.4050", "Jane Doe", "holiday in")


@pytest.fixture
def events():
    """What Python is told of sockets and started programs meanwhile."""
    seen = _Hook.seen
    seen.clear()
    _Hook.on = True
    yield seen
    _Hook.on = False


class _Hook:
    seen: list[str] = []
    on = False

    @classmethod
    def hear(cls, event: str, arguments: tuple) -> None:
        if cls.on and event.startswith(("socket.", "subprocess.", "os.exec", "os.posix_spawn", "urllib.")):
            cls.seen.append(f"{event} {arguments}")


sys.addaudithook(_Hook.hear)


def test_encode_decode_info_and_verify_open_no_socket(tiny, bcd, clip, tmp_path, events):
    assert tiny("encode", clip, tmp_path / "a.bcd").code == 0
    assert tiny("decode", tmp_path / "a.bcd", tmp_path / "a.mkv").code == 0
    assert tiny("verify", tmp_path / "a.bcd").code == 0 and bcd("info", tmp_path / "a.bcd").code == 0
    assert events == []
    socket.socket().close()
    assert events != [], "the hook hears nothing"


def playlist(what: str) -> str:
    return f"#EXTM3U\n#EXT-X-TARGETDURATION:9\n#EXTINF:9,\n{what}\n#EXT-X-ENDLIST\n"


SCRIPTS = {  # {url}: of a server that listens; {name}: of a video in the working folder
    "playlist": playlist("{url}.ts"),
    "playlist of a file": playlist("{name}"),
    "concat": "ffconcat version 1.0\nfile {url}.ts\n",
    "concat of a file": "ffconcat version 1.0\nfile {name}\n",
    "session": "v=0\no=- 0 0 IN IP4 127.0.0.1\ns=x\nc=IN IP4 127.0.0.1\nt=0 0\nm=video 5004 RTP/AVP 96\n"
    "a=rtpmap:96 H264/90000\n",
}


@pytest.mark.parametrize("suffix", [".mp4", ".m3u8", ".sdp"])
@pytest.mark.parametrize("kind", SCRIPTS)
def test_a_video_that_names_other_files_or_hosts_opens_none(clip, tmp_path, monkeypatch, kind, suffix):
    monkeypatch.chdir(tmp_path)
    (tmp_path / "other.mp4").write_bytes(clip.read_bytes())
    asked = []
    with socket.create_server(("127.0.0.1", 0)) as server:
        server.settimeout(0.2)
        listener = threading.Thread(target=_accept, args=(server, asked))
        listener.start()
        url = f"http://127.0.0.1:{server.getsockname()[1]}/x"
        text = SCRIPTS[kind].format(url=url, name="other.mp4")
        (tmp_path / f"a{suffix}").write_text(text)
        with pytest.raises(VideoError, match="is not a video"):
            list(open_source(tmp_path / f"a{suffix}").frames())
        with pytest.raises(VideoError, match="is not a video"):
            list(open_source(io.BufferedReader(io.BytesIO(text.encode()))).frames())
        listener.join()
    assert asked == []


def _accept(server: socket.socket, asked: list) -> None:
    try:
        connection, address = server.accept()
        asked.append(address)
        connection.close()
    except TimeoutError:
        pass


def tagged_video(path) -> None:
    with av.open(str(path), "w", options={"movflags": "use_metadata_tags"}) as container:
        for key, value in zip(("make", "location", "artist", "comment"), SECRETS, strict=True):
            container.metadata[key] = value
        stream = container.add_stream("libx264", rate=25)
        stream.width, stream.height, stream.pix_fmt, stream.time_base = 64, 64, "yuv420p", Fraction(1, 25)
        for i, image in enumerate(head_frames(3, 6, 64)):
            frame = av.VideoFrame.from_ndarray(np.ascontiguousarray(image), format="rgb24")
            frame.pts = i
            container.mux(stream.encode(frame))
        container.mux(stream.encode(None))


def tagged_photo(path) -> None:
    exif = Image.Exif()
    exif[0x010F], exif[0x9286], exif[0x013B] = SECRETS[0], SECRETS[3], SECRETS[2]
    exif.get_ifd(0x8825)[1], exif.get_ifd(0x8825)[29] = "N", SECRETS[1]
    Image.fromarray(head_frames(3, 1, 64)[0]).save(path, exif=exif, comment=SECRETS[3].encode())


@pytest.mark.parametrize("name, make", [("in.mp4", tagged_video), ("in.jpg", tagged_photo)])
def test_no_metadata_of_the_source_gets_into_a_file(tiny, tmp_path, name, make):
    make(tmp_path / name)
    source = (tmp_path / name).read_bytes()
    assert all(secret.encode() in source for secret in SECRETS), "the source is tagged"
    assert tiny("encode", tmp_path / name, tmp_path / "a.bcd", "--surroundings").code == 0
    data = (tmp_path / "a.bcd").read_bytes()
    assert not any(secret.encode() in data for secret in (*SECRETS, name, str(tmp_path)))
    with open_bcd(tmp_path / "a.bcd") as reader:
        assert reader.metadata is None and list(reader.ancillary()) == []
        (still,) = reader.surroundings()
        assert b"EXIF" not in still.webp and b"XMP " not in still.webp and b"ICCP" not in still.webp
    if name == "in.mp4":
        assert tiny("decode", tmp_path / "a.bcd", tmp_path / "out.mp4").code == 0
        assert not any(secret.encode() in (tmp_path / "out.mp4").read_bytes() for secret in SECRETS)


def test_info_shows_all_there_is(bcd, tmp_path):
    metadata = {"title": "x", "n": [1, {"b": b"\1\2"}]}
    data = file_bytes(made(metadata=metadata, sampler_seed=9), SMALL)
    tail = data.rindex(b"TAIL")
    (tmp_path / "a.bcd").write_bytes(data[:tail] + pack_chunk(b"xyZz", b"hidden") + data[tail:])
    facts = json.loads(bcd("info", tmp_path / "a.bcd", "--json").out)
    assert facts["metadata"] == {"title": "x", "n": [1, {"b": "0102"}]} and facts["sampler_seed"] == 9
    assert facts["unknown_chunks"] == [{"name": "xyZz", "bytes": 6}]
    shown = bcd("info", tmp_path / "a.bcd").out
    assert '"title": "x"' in shown and "xyZz, 6 bytes" in shown
    assert facts["bytes"]["total"] == (tmp_path / "a.bcd").stat().st_size


def test_info_of_metadata_that_is_not_valid_says_so(bcd, tmp_path):
    (tmp_path / "a.bcd").write_bytes(with_chunk(file_bytes(made(), SMALL), 1, b"mETa", b"\x91\1"))
    facts = json.loads(bcd("info", tmp_path / "a.bcd", "--json").out)
    assert facts["metadata"].startswith("not readable: metadata is a list")
