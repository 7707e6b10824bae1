"""Images written by the reference: the right verdict and the same reading, through the program."""

from __future__ import annotations

import hashlib
import json
import uuid
from typing import TYPE_CHECKING, Any

import pytest
from media import names, reading, unpack

if TYPE_CHECKING:
    from conftest import Famfs

CLEAN = {
    "vempty", "vempty16m", "vfew", "vmultiext", "vinterleaved", "vfull", "vadddaxdev",
    "vodd_sb_foreign",
}  # fmt: skip
FATAL = {
    "vbad_sb_crc": "superblock_crc",
    "vbad_sb_magic": "superblock_magic",
    "vbad_sb_version": "superblock_version",
    "vbad_sb_allocunit": "superblock_alloc_unit",
    "vodd_sb_omf": "superblock_omf",
    "vbad_log_crc": "log_crc",
    "vbad_log_magic": "log_magic",
}
FINDINGS = {
    "vbad_entry_crc": [(3, None, "entry_crc")],
    "vbad_entry_payload": [(2, None, "entry_crc")],
    "vbad_seqnum": [(4, None, "entry_seqnum")],
    "vodd_torn_header_first": [(7, None, "entry_missing")],
    "vodd_torn_seq_only": [
        (None, None, "counters_diverge"), (7, None, "entry_seqnum"), (8, None, "entry_seqnum"),
    ],
    "vodd_nextidx_past_end": [
        (None, None, "next_index_past_end"),
        (None, None, "counters_diverge"),
        (7, 15_419, "entry_missing"),
    ],
    "vodd_abspath": [(7, None, "path_invalid")],
    "vodd_collision": [(7, None, "extent_overlap")],
    "vodd_dupname": [(7, None, "name_taken")],
    "vodd_nextents17": [(7, None, "extent_count")],
    "vodd_type_delete": [(7, None, "entry_type")],
    "vodd_unaligned": [(7, None, "extent_unaligned")],
    "vodd_zeroofs": [(7, None, "extent_in_log")],
}  # fmt: skip


def exit_code(name: str) -> int:
    """Say how fsck and dump must end."""
    return 0 if name in CLEAN else 8 if name in FATAL else 4


def test_each_image_has_an_expected_verdict() -> None:
    """An image that is added needs a verdict here."""
    assert sorted([*CLEAN, *FATAL, *FINDINGS]) == names()
    assert len(names()) == 28


@pytest.fixture(params=names())
def name(request: pytest.FixtureRequest) -> str:
    """Give each image's name."""
    return request.param


def test_verdict_and_reading(famfs: Famfs, name: str) -> None:
    """Findings, superblock, log and every entry are what they should be."""
    image = unpack(name, famfs.folder)
    code = exit_code(name)
    head = hashlib.sha256(image.open("rb").read(20 << 20)).digest()
    dump = json.loads(famfs("dump", image, code=code).out)
    fsck = json.loads(famfs("fsck", image, "--json", code=code).out)
    told = famfs("fsck", image, code=code).text
    assert hashlib.sha256(image.open("rb").read(20 << 20)).digest() == head

    assert list(dump) == [
        "superblock", "log", "directories", "files", "devices", "usage", "findings",
    ]  # fmt: skip
    for key in ("superblock", "log", "devices", "usage", "findings"):
        assert fsck[key] == dump[key]
    assert fsck["exit"] == code
    assert fsck["verdict"] == {0: "clean", 4: "findings", 8: "unjudged"}[code]

    found = [(f["slot"], f.get("last_slot"), f["kind"]) for f in dump["findings"]]
    if name in FATAL:
        assert found == [(None, None, FATAL[name])]
        assert (dump["directories"], dump["files"], dump["devices"]) == ([], [], [])
        assert dump["log"] is dump["usage"] is None
        assert (dump["superblock"] is None) == ("superblock" in FATAL[name])
    else:
        assert found == FINDINGS.get(name, [])
        check_names(name, dump)
        assert (fsck["files"], fsck["directories"]) == (
            len(dump["files"]),
            len(dump["directories"]),
        )
    if dump["superblock"]:
        check_superblock(name, dump["superblock"])
    for finding in dump["findings"]:
        assert finding["kind"] in told
        assert finding["detail"] in told


def check_superblock(name: str, found: dict[str, Any]) -> None:
    """Compare a superblock with the reference's reading."""
    wanted = reading(name)["upstream"]["superblock"]
    assert uuid.UUID(found["uuid"]).hex == wanted["uuid_hex"]
    assert uuid.UUID(found["device_uuid"]).hex == wanted["dev_uuid_hex"]
    assert uuid.UUID(found["system_uuid"]).hex == wanted["system_uuid_hex"]
    assert found["omf"] == [wanted["omf_major"], wanted["omf_minor"]]
    for ours, theirs in [
        ("version", "version"),
        ("log_offset", "log_offset"),
        ("log_length", "log_len"),
        ("alloc_unit", "alloc_unit"),
        ("device_size", "daxdev_size"),
    ]:
        assert found[ours] == wanted[theirs]
    # They were made on another host.
    assert found["role"] == "client"


def extents(found: list[dict[str, int]]) -> list[dict[str, int]]:
    """Name extents as the reference's reading does."""
    return [{"devindex": e["device"], "offset": e["offset"], "len": e["length"]} for e in found]


def check_names(name: str, dump: dict[str, Any]) -> None:
    """Compare all that is listed with the reference's reading, where that is sound."""
    upstream = reading(name)["upstream"]
    skipped = set()
    for finding in dump["findings"]:
        if finding["slot"] is not None:
            last = finding.get("last_slot", finding["slot"])
            skipped.update(range(finding["slot"], last + 1))
    log = upstream["log"]
    assert dump["log"]["length"] == log["len"]
    assert dump["log"]["capacity"] == log["last_index"] + 1
    assert dump["log"]["entries"] == min(log["next_index"], log["last_index"] + 1)
    sound = [e for e in upstream["entries"] if e["index"] not in skipped]
    wanted = [e for e in sound if e["type"] == 0]
    assert [f["slot"] for f in dump["files"]] == [e["index"] for e in wanted]
    for found, entry in zip(dump["files"], wanted, strict=True):
        check_owner(found, entry)
        assert found["size"] == entry["size"]
        if entry["ext_type"] == 0:
            assert extents(found["extents"]) == entry["extents"]
            assert "interleaved" not in found
        else:
            stripes = found["interleaved"]
            assert stripes["chunk_size"] == entry["interleaved"]["chunk_size"]
            assert extents(stripes["strips"]) == entry["interleaved"]["strips"]
            assert "extents" not in found
    folders = [e for e in sound if e["type"] == 1]
    assert [d["path"] for d in dump["directories"]] == [e["path"] for e in folders]
    for found, entry in zip(dump["directories"], folders, strict=True):
        check_owner(found, entry)
    check_usage(dump)


def check_owner(found: dict[str, Any], entry: dict[str, Any]) -> None:
    """Compare path, owner and mode."""
    path = bytes.fromhex(found["path_hex"]) if "path_hex" in found else found["path"].encode()
    assert path.hex() == entry["path_hex"]
    assert ("path_hex" in found) == (path.decode(errors="replace").encode() != path)
    assert (found["uid"], found["gid"]) == (entry["uid"], entry["gid"])
    assert found["mode"] == f"{int(entry['mode_octal'], 8):04o}"


def check_usage(dump: dict[str, Any]) -> None:
    """Add up the space from the extents."""
    usage, superblock = dump["usage"], dump["superblock"]
    assert usage["allocated"] + usage["free"] == usage["capacity"]
    unit = superblock["alloc_unit"]
    assert usage["capacity"] == superblock["device_size"] // unit * unit
    lists = [f.get("extents") or f.get("interleaved", {}).get("strips", []) for f in dump["files"]]
    allocated = sum(e["length"] for extents in lists for e in extents if e["device"] == 0)
    assert usage["allocated"] == superblock["log_offset"] + superblock["log_length"] + allocated
    assert usage["dead"] == 0
    assert dump["devices"][0]["uuid"] == superblock["device_uuid"]
    assert [d["index"] for d in dump["devices"]] == list(range(len(dump["devices"])))
