"""A product's zip may come from an enemy: nothing is ever written outside, nothing half is ever believed."""

import io
import random
import resource
import struct
import zipfile

import pytest

from sagwatch.adapters.product_zip import LAYERS, unpack_product
from sagwatch.errors import BadProductError, TryAgainError
from sagwatch.settings import ProductSettings
from tests.steps.tiny_product import NAME, members, zipped

LIMITS = ProductSettings()


@pytest.fixture
def place(tmp_path):
    folder = tmp_path / "outer" / "private"
    folder.mkdir(parents=True)
    return folder


def everything_in(tmp_path):
    return sorted(str(path.relative_to(tmp_path)) for path in tmp_path.rglob("*") if path.is_file())


def unpack(tmp_path, place, data: bytes, limits=LIMITS):
    file = tmp_path / "p.zip"
    file.write_bytes(data)
    return unpack_product(file, place, limits)


def test_only_what_we_use_is_unpacked_to_names_of_our_own(tmp_path, place):
    product = unpack(tmp_path, place, zipped(members()))

    assert product.name == NAME
    assert product.parameters_text.startswith("Reference Granule: S1_021697")
    assert set(product.layers) == set(LAYERS)
    assert sorted(p.name for p in place.iterdir()) == sorted(
        [*(f"{layer}.tif" for layer in LAYERS), "parameters.txt"]
    )
    assert product.layers["corr"].read_bytes() == members()[f"{NAME}/{NAME}_corr.tif"]


def test_layers_that_a_processor_does_not_deliver_may_be_absent(tmp_path, place):
    product = unpack(tmp_path, place, zipped(members(conncomp=None, water_mask=None)))

    assert set(product.layers) == set(LAYERS) - {"conncomp", "water_mask"}


@pytest.mark.parametrize("layer", [layer for layer, needed in LAYERS.items() if needed])
def test_a_product_without_a_needed_layer_is_incomplete(tmp_path, place, layer):
    with pytest.raises(BadProductError, match=f"incomplete, without {layer}.tif"):
        unpack(tmp_path, place, zipped(members(**{layer: None})))


@pytest.mark.parametrize(
    ("name", "reason"),
    [
        ("../escaped.txt", "outside"),
        ("../../escaped.txt", "outside"),
        (f"{NAME}/../../escaped.txt", "outside"),
        ("/tmp/escaped.txt", "outside"),
        (f"{NAME}//escaped.txt", "outside"),
        (f"{NAME}/./escaped.txt", "outside"),
        (f"{NAME}\\..\\escaped.txt", "no product uses"),
        ("C:/escaped.txt", "no product uses"),
        (f"{NAME}/esc\u202eaped.txt", "no product uses"),
        (f"{NAME}/a\nb.txt", "no product uses"),
        ("other/escaped.txt", "not one folder"),
        ("escaped.txt", "not one folder"),
    ],
)
def test_a_member_with_a_hostile_name_condemns_the_product(tmp_path, place, name, reason):
    with pytest.raises(BadProductError, match=reason):
        unpack(tmp_path, place, zipped(members() | {name: b"x"}))

    assert everything_in(tmp_path) == ["p.zip"]


def test_two_members_of_one_name_are_refused(tmp_path, place):
    with pytest.raises(BadProductError, match="two members"):
        unpack(tmp_path, place, zipped(members() | {f"{NAME}/{NAME}_CORR.tif": b"other"}))


def test_a_link_is_refused(tmp_path, place):
    buffer = io.BytesIO()
    with zipfile.ZipFile(buffer, "w") as archive:
        link = zipfile.ZipInfo(f"{NAME}/{NAME}_corr.tif")
        link.external_attr = 0o120777 << 16
        archive.writestr(link, "/etc/passwd")
    with pytest.raises(BadProductError, match="link"):
        unpack(tmp_path, place, buffer.getvalue())


def test_a_bomb_is_refused_before_it_is_unpacked(tmp_path, place):
    bomb = members(corr=bytes(80 * 2**20))
    with pytest.raises(BadProductError, match="times its size"):
        unpack(tmp_path, place, zipped(bomb))
    with pytest.raises(BadProductError, match="the limit is 1000000"):
        unpack(tmp_path, place, zipped(bomb), ProductSettings(limit_unpacked_bytes=1_000_000))

    assert everything_in(tmp_path) == ["p.zip"]


def test_a_member_that_is_larger_than_it_says_is_refused(tmp_path, place):
    data = bytearray(zipped({f"{NAME}/{NAME}.txt": b"Key: value\n" * 1000} | members()))
    central = data.index(b"PK\x01\x02")
    struct.pack_into("<I", data, central + 24, 11)  # the size that the list of members states

    with pytest.raises(BadProductError):
        unpack(tmp_path, place, bytes(data))


def test_too_many_members_are_refused(tmp_path, place):
    many = members() | {f"{NAME}/{i}.txt": b"" for i in range(300)}
    with pytest.raises(BadProductError, match="at most 200"):
        unpack(tmp_path, place, zipped(many))


@pytest.mark.parametrize(
    "data", [b"", b"<!DOCTYPE html><title>Login</title>", b"PK\x03\x04 and then nothing"]
)
def test_what_is_no_zip_says_how_it_begins(tmp_path, place, data):
    with pytest.raises(BadProductError, match="not a complete zip; it begins with"):
        unpack(tmp_path, place, data)


def test_every_truncation_is_noticed(tmp_path, place):
    whole = zipped(members())
    for length in range(0, len(whole), max(1, len(whole) // 60)):
        with pytest.raises(BadProductError):
            unpack(tmp_path, place, whole[:length])


def test_a_disk_that_takes_no_more_does_not_condemn_the_product(tmp_path, place):
    before = resource.getrlimit(resource.RLIMIT_FSIZE)
    (tmp_path / "product.zip").write_bytes(zipped(members()))
    resource.setrlimit(resource.RLIMIT_FSIZE, (1000, before[1]))
    try:
        with pytest.raises(TryAgainError, match=r"cannot be unpacked into .*File too large"):
            unpack_product(tmp_path / "product.zip", place, LIMITS)
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, before)


def test_a_flipped_bit_in_the_data_is_noticed_by_the_checksum(tmp_path, place):
    whole = bytearray(zipped(members()))
    name = f"{NAME}/{NAME}_unw_phase.tif".encode()
    whole[whole.index(name) + len(name) + 40] ^= 0xFF

    with pytest.raises(BadProductError, match="damaged"):
        unpack(tmp_path, place, bytes(whole))


def test_hundreds_of_hostile_zips_write_nothing_outside_and_raise_nothing_else(tmp_path):
    """Random damage, random names: either a product comes out, whole, or BadProductError."""
    dice = random.Random(20260)
    right = members()
    whole = zipped(right)
    pieces = ["..", ".", "", "/", "\\", "a", NAME, "C:", "\x00", "é", "~", "con", "etc/passwd"]
    outcomes = {"good": 0, "bad": 0}
    for number in range(400):
        place = tmp_path / f"{number}" / "private"
        place.mkdir(parents=True)
        if number % 2:
            hostile = "/".join(dice.choices(pieces, k=dice.randint(1, 5)))
            data = zipped(right | ({hostile: b"x"} if hostile.split("\0")[0] else {}))
        else:
            spoiled = bytearray(whole)
            for _ in range(dice.randint(1, 8)):
                spoiled[dice.randrange(len(spoiled))] = dice.randrange(256)
            data = bytes(spoiled)
        file = tmp_path / f"{number}" / "p.zip"
        file.write_bytes(data)
        try:
            product = unpack_product(file, place, LIMITS)
        except BadProductError:
            outcomes["bad"] += 1
        else:
            outcomes["good"] += 1
            for layer, path in product.layers.items():
                assert path.read_bytes() == right[f"{NAME}/{NAME}_{layer}.tif"]
        assert {p.parent for p in (tmp_path / f"{number}").rglob("*") if p.is_file()} <= {place, file.parent}
        assert [p.name for p in file.parent.iterdir() if p.is_file()] == ["p.zip"]
    assert not (tmp_path.parent / "escaped.txt").exists()
    assert min(outcomes.values()) > 5


@pytest.mark.real_data
def test_the_real_products_unpack(real_data, tmp_path):
    for number, file in enumerate(sorted((real_data / "mexico_city").glob("*.zip"))):
        folder = tmp_path / str(number)
        folder.mkdir()
        assert unpack_product(file, folder, LIMITS).name == file.stem
