"""An archive of products describes its own site."""

from datetime import date

import pytest

from sagwatch.adapters.site_files import load_sites, read_site
from sagwatch.domain.grid import Grid
from sagwatch.errors import BadInputError
from sagwatch.steps.site_from_products import common_grid, site_from_products
from tests.steps.small_site import SmallSystem
from tests.steps.tiny_product import NAME, members, write_product


def test_a_site_file_is_written_from_what_the_products_say(tmp_path):
    write_product(tmp_path / f"{NAME}.zip")
    (tmp_path / "broken.zip").write_bytes(b"PK")
    file = tmp_path / "archive.yaml"

    file.write_text(site_from_products(tmp_path, "archive"))

    site = read_site(file)
    track = site.track("t011a")
    assert track.bursts == ("011_021697_IW3",)
    assert track.grid.grid() == Grid(32649, 482240, 4142640, 80, 34, 30)
    assert site.network.only == ((date(2024, 1, 1), date(2024, 1, 13)),)
    assert site.start == date(2024, 1, 1)


def test_the_grid_is_what_all_products_cover():
    extents = [Grid(32649, 800, 8000, 80, 20, 20), Grid(32649, 960, 7840, 80, 30, 10)]

    assert common_grid(extents) == Grid(32649, 960, 7840, 80, 18, 10)
    with pytest.raises(BadInputError, match="no common area"):
        common_grid([Grid(32649, 0, 800, 80, 5, 5), Grid(32649, 8000, 800, 80, 5, 5)])


def test_products_of_two_tracks_want_two_folders(tmp_path):
    other = NAME.replace("021697", "021698")
    write_product(tmp_path / f"{NAME}.zip")
    content = {name.replace(NAME, other): data for name, data in members().items()}
    content[f"{other}/{other}.txt"] = content[f"{other}/{other}.txt"].replace(b"S1_021697", b"S1_021698")
    write_product(tmp_path / f"{other}.zip", content)

    with pytest.raises(BadInputError, match="products of 2 tracks"):
        site_from_products(tmp_path, "archive")


@pytest.mark.parametrize("name", ["Big Mine", "", "../x"])
def test_a_name_that_no_site_can_have_is_refused(tmp_path, name):
    with pytest.raises(BadInputError, match="is no site name"):
        site_from_products(tmp_path, name)


def test_an_empty_folder_is_told(tmp_path):
    with pytest.raises(BadInputError, match="no usable zip"):
        site_from_products(tmp_path, "archive")


@pytest.mark.real_data
def test_a_replayed_archive_goes_the_whole_way_with_the_file_written_for_it(real_data, tmp_path, ledger):
    from sagwatch.simulation.running import start

    archive = real_data / "mexico_city"
    file = tmp_path / "mexico.yaml"
    file.write_text(site_from_products(archive, "mexico"))
    data = tmp_path / "data"
    data.mkdir()
    with start(tmp_path / "cloud", products=archive, job_seconds=0) as sim:
        sim.show(9)
        system = SmallSystem(sim, ledger, data, read_site(file))
        results = system.run()

    assert [result.state for result in results] == ["accepted"] * 20
    assert set(system.states().values()) == {"used"}
    [(lowest,)] = system.query("SELECT min(mean_coherence) FROM sagwatch.interferogram")
    assert lowest > 0.5


@pytest.mark.real_data
def test_the_shipped_site_of_the_archive_agrees_with_the_archive(real_data, tmp_path):
    from tests.steps.test_site_files import SITES

    file = tmp_path / "mexico_city.yaml"
    file.write_text(site_from_products(real_data / "mexico_city", "mexico_city"))
    written, shipped = read_site(file), load_sites(SITES / "demonstration")[0]["mexico_city"]

    assert shipped.network.only == written.network.only
    assert shipped.tracks[0].model_copy(update={"reference": None}) == written.tracks[0]
