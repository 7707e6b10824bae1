"""Pictures of devices: what `plot_map` shows, as SVG, text and numbers."""

from __future__ import annotations

import json
import subprocess
import sys
import xml.etree.ElementTree as ET
from pathlib import Path

import numpy as np
import pytest

import famfs

SVG = "{http://www.w3.org/2000/svg}"
MIB = 1 << 20
PAGE = Path(__file__).parents[2] / "docs" / "pictures.md"


@pytest.fixture
def filled(mnt):
    famfs.mkdir(f"{mnt}/a&b")
    famfs.publish(b"x" * 9 * MIB, f"{mnt}/a&b/<large>")
    famfs.publish(np.arange(1000), f"{mnt}/small")
    famfs.publish(b"y" * 3 * MIB, f"{mnt}/old")
    famfs.publish(b"z", f"{mnt}/old", overwrite=True)
    famfs.publish(b"gone", f"{mnt}/gone")
    famfs.remove(f"{mnt}/gone")
    return mnt


def titles(svg):
    return [title.text for title in ET.fromstring(svg).iter(f"{SVG}title")]


def test_ranges_cover_the_device_and_agree_with_df(filled):
    ranges = famfs.plot_map(filled).ranges
    at = 0
    used = {}
    for part in ranges:
        assert part["offset"] == at
        at += part["length"]
        used[part["use"]] = used.get(part["use"], 0) + part["length"]
    usage = famfs.df(filled)
    assert at == usage.capacity
    assert used["free"] == usage.free
    assert used["dead"] == usage.dead == 6 * MIB
    assert used["superblock"] == 2 * MIB
    assert used["log"] + used["log-room"] == 8 * MIB
    large = [part for part in ranges if part.get("path") == "a&b/<large>"]
    assert [(part["use"], part["length"], part["extent"]) for part in large] == [
        ("file", 10 * MIB, 1)
    ]
    ref = famfs.stat(f"{filled}/a&b/<large>").ref
    assert large[0]["slot"] == ref.index


def test_the_picture_is_svg_that_names_what_is_there(filled):
    picture = famfs.plot_map(filled)
    svg = picture._repr_svg_()
    root = ET.fromstring(svg)
    assert root.tag == f"{SVG}svg"
    texts = [text.text for text in root.iter(f"{SVG}text")]
    for text in ("superblock", "log", "room in the log", "files", "dead", "free", "<large>"):
        assert text in texts
    assert any(title.startswith("a&b/<large>\nextent 1 of 1: 10.0 MiB") for title in titles(svg))
    assert any("(dead)" in title for title in titles(svg))
    assert svg in picture._repr_html_()
    # Nothing is loaded, and nothing runs.
    assert "<script" not in svg
    assert "href" not in svg
    assert "prefers-color-scheme" in svg


def test_a_file_stands_out(filled):
    def dim(picture):
        return picture.svg.count(" dim")

    assert dim(famfs.plot_map(filled)) == 0
    assert dim(famfs.plot_map(f"{filled}/small")) > 2
    with pytest.raises(famfs.NotFound, match="none"):
        famfs.plot_map(f"{filled}/none")
    with pytest.raises(famfs.NotFound):
        famfs.plot_map(f"{filled}/gone")


def test_as_text_and_saved(filled, tmp_path):
    picture = famfs.plot_map(filled)
    text = str(picture)
    assert "a&b/<large>" in text
    assert "\x1b" not in text
    assert repr(picture) == text
    picture.save(tmp_path / "map.svg")
    assert (tmp_path / "map.svg").read_text() == picture.svg
    picture.save(tmp_path / "map.html")
    assert picture.svg in (tmp_path / "map.html").read_text()
    with pytest.raises(famfs.Unsupported, match=r"\.svg"):
        picture.save(tmp_path / "map.png")


def test_what_is_not_mounted_and_what_is_no_volume(tmp_path):
    famfs.mkfs(tmp_path / "volume", size="64MiB")
    assert famfs.plot_map(tmp_path / "volume").ranges[-1]["use"] == "free"
    (tmp_path / "noise").write_bytes(b"\1" * MIB)
    with pytest.raises(famfs.Corrupt):
        famfs.plot_map(tmp_path / "noise")
    with pytest.raises(famfs.NotMounted):
        famfs.plot_map(tmp_path)
    with pytest.raises(FileNotFoundError):
        famfs.plot_map(tmp_path / "none")


def test_the_command_draws_the_same(filled, tmp_path):
    def famfs_map(*args):
        command = [sys.executable, "-m", "famfs", "map", *map(str, args)]
        done = subprocess.run(command, capture_output=True, text=True, check=True)
        return done.stdout

    picture = famfs.plot_map(filled)
    assert famfs_map(filled, "--svg", "-") == picture.svg + "\n"
    assert json.loads(famfs_map(filled, "--json"))["ranges"] == picture.ranges


def test_a_dataset_is_drawn_where_it_lies(filled):
    html = famfs.open(f"{filled}/small")._repr_html_()
    svg = html[html.index("<svg") : html.index("</svg>") + len("</svg>")]
    assert len(list(ET.fromstring(svg).iter(f"{SVG}title"))) == 1


def test_the_page_s_example_runs(filled, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    code = PAGE.read_text().split("```python\n")[1].split("```")[0]
    assert "plot_map" in code
    exec(code.replace("/mnt/famfs", filled).replace("/features", "/small"), {})
    assert (tmp_path / "map.svg").exists()
