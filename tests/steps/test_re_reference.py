"""The reference point is moved by a person's recorded act, and a lost one is told while nothing is judged."""

from pathlib import Path

import h5py
import numpy as np
import pytest
import yaml
from sqlalchemy import text
from sqlalchemy.exc import ProgrammingError

from sagwatch.__main__ import main
from sagwatch.adapters.database import models
from sagwatch.domain.mine_plan import Face
from sagwatch.domain.site import ReferencePlace
from sagwatch.engine.revision import read_revision
from sagwatch.errors import BadInputError
from sagwatch.steps.check_health import check_health
from sagwatch.steps.publish_revision import publish_revision
from sagwatch.steps.re_reference import re_reference
from sagwatch.steps.update_stack import update_stack
from tests.steps.stored_track import AS_OF, StoredTrack, store_track

#: The last acquisition does not see this pixel.
LOST = (5, 18)
DECIDED = {"who": "Ann", "why": "the old one was built over"}


@pytest.fixture
def stored(tmp_path, ledger) -> StoredTrack:
    return store_track(tmp_path, ledger, n_epochs=24, gaps=0.0, lost=LOST)


def query(stored: StoredTrack, statement: str) -> list[tuple]:
    with stored.ledger.begin() as session:
        return [tuple(row) for row in session.execute(text(statement))]


def move(stored: StoredTrack, **words):
    return re_reference(stored.site, stored.track, stored.ledger, stored.data, AS_OF, **DECIDED | words)


def unpin(stored: StoredTrack) -> None:
    with stored.ledger.begin() as session:
        row = session.get(models.Track, stored.track.id)
        row.reference_row = row.reference_column = None


def place_of(stored: StoredTrack, row: int, column: int) -> tuple[float, float]:
    longitude, latitude = stored.track.grid.grid().lon_lat(row, column)
    return float(latitude), float(longitude)


def never_missing(stored: StoredTrack) -> tuple[int, int]:
    """A dry pixel that every interferogram sees, and that is not the reference."""
    phase = stored.invented.phase_rad
    seen = (np.isfinite(phase) & (phase != 0)).mean(axis=0)
    seen[stored.invented.reference] = 0
    seen[-4:] = 0
    row, column = np.unravel_index(int(np.argmax(seen)), seen.shape)
    return int(row), int(column)


@pytest.fixture
def by_hand(tmp_path, monkeypatch, postgis_url):
    """Lets the command line find a stored track."""

    def prepare(stored: StoredTrack) -> None:
        _prepare(stored, tmp_path / "sites", monkeypatch, postgis_url)

    return prepare


def _prepare(stored: StoredTrack, folder: Path, monkeypatch: pytest.MonkeyPatch, postgis_url: str) -> None:
    folder.mkdir()
    written = yaml.safe_dump(stored.site.model_dump(mode="json", exclude_defaults=True))
    (folder / "invented.yaml").write_text(written)
    for name, value in (("SITES", folder), ("DATA", stored.data), ("DATABASE_URL", postgis_url)):
        monkeypatch.setenv(f"SAGWATCH_{name}", str(value))
    monkeypatch.setenv("AIRFLOW_CONN_SAGWATCH_HYP3", '{"conn_type": "http"}')  # which clock it is


def test_by_hand_the_point_moves_the_act_is_kept_and_everything_is_solved_anew(stored, by_hand, capsys):
    by_hand(stored)
    before = stored.update(stored.members)
    old = read_revision(stored.newest).los_m()
    row, column = never_missing(stored)
    latitude, longitude = place_of(stored, row, column)
    act = [
        "re-reference",
        "invented",
        stored.track.name,
        "--latitude",
        str(latitude),
        "--longitude",
        str(longitude),
    ]

    assert main([*act, "--why", "the old one was built over", "--who", "Ann"]) == 0
    said = capsys.readouterr()
    assert "the reference point moved from" in said.out
    assert main([*act, "--why", "again"]) == 64
    assert "is the reference point of invented/t011a already" in capsys.readouterr().err

    [change] = query(stored, "SELECT who, why, old_latitude, new_latitude FROM analyst.reference_changes")
    assert change[:2] == ("Ann", "the old one was built over")
    assert change[3] == pytest.approx(latitude)
    with pytest.raises(ProgrammingError, match="only ever inserted"):
        query(stored, "UPDATE sagwatch.reference_change SET why = 'nothing'")
    after = stored.update()
    assert (after.number, after.first_solved) == (before.number + 1, 0)
    assert (after.reference.row, after.reference.column) == (row, column)
    # All moved by the old displacement at the new point, but for what weights by pixel make of its noise.
    new = read_revision(stored.newest).los_m()
    both = np.isfinite(new[-1]) & np.isfinite(old[-1])
    shift = new[-1][both] - old[-1][both]
    assert abs(np.median(shift) + old[-1, row, column]) < 1e-3
    assert np.std(shift) < 3e-3
    assert stored.update().number == after.number


def test_places_are_ranked_anew_by_hand_for_a_site_that_named_its_own(tmp_path, ledger, by_hand, capsys):
    stored = store_track(tmp_path, ledger, n_epochs=12, gaps=0.0, rows=60, columns=60)
    by_hand(stored)
    assert main(["rank-references", "invented", "t011a"]) == 64
    assert "has no interferogram yet" in capsys.readouterr().err
    stored.update(stored.members)
    assert ledger.network.candidates(stored.track.id) == []
    capsys.readouterr()

    assert main(["rank-references", "invented", "t011a"]) == 0

    ranked = ledger.network.candidates(stored.track.id)
    said = capsys.readouterr().out.splitlines()
    assert len(said) == len(ranked) >= 2
    assert said[0].startswith(f"  1  {ranked[0].latitude:.5f}, {ranked[0].longitude:.5f}  mean coherence 0.")
    pinned = stored.ledger.sites.track(stored.track.id)
    assert (pinned.reference_row, pinned.reference_column) == stored.invented.reference, "nothing moves"


def test_the_best_place_is_pinned_with_the_others_and_one_of_them_can_be_taken_by_rank(tmp_path, ledger):
    stored = store_track(tmp_path, ledger, n_epochs=12, gaps=0.0, rows=60, columns=60)  # mostly quiet ground
    unpin(stored)
    stored.update(stored.members)

    ranked = stored.ledger.network.candidates(stored.track.id)
    pinned = stored.ledger.sites.track(stored.track.id)
    assert (ranked[0].row, ranked[0].column) == (pinned.reference_row, pinned.reference_column)
    assert "above the area's median" in pinned.reference_reason
    assert "panels" not in pinned.reference_reason, "there is no mine plan"
    assert len(ranked) >= 2
    assert query(stored, "SELECT rank, is_reference FROM analyst.stable_points ORDER BY rank")[:2] == [
        (1, True),
        (2, False),
    ]

    with pytest.raises(BadInputError, match="has no candidate of rank 99"):
        move(stored, rank=99)
    moved = move(stored, rank=2)
    assert moved.new == (ranked[1].latitude, ranked[1].longitude)
    assert stored.update().reference.row == ranked[1].row


@pytest.mark.parametrize(
    ("words", "what"),
    [
        ({"why": " "}, "say who moves the reference point and why"),
        ({"place": (0.0, 0.0)}, "take a place inside"),
        ({"place": (19, 8)}, "is water"),
        ({"place": (5, 0)}, "has phase in 0 of"),
        ({}, "by its latitude and longitude, or by its rank"),
        ({"place": (110.8, 37.4)}, "is no place on Earth; are the two swapped"),
        ({"place": (float("nan"), 110.8)}, "is no place on Earth"),
    ],
)
def test_an_unfit_place_is_refused_and_nothing_moves(stored, words, what):
    stored.update(stored.members)
    if (place := words.get("place")) and isinstance(place[0], int):
        words = {"place": place_of(stored, *place)}

    with pytest.raises(BadInputError, match=what):
        move(stored, **words)

    assert query(stored, "SELECT count(*) FROM sagwatch.reference_change") == [(0,)]
    pinned = stored.ledger.sites.track(stored.track.id)
    assert (pinned.reference_row, pinned.reference_column) == stored.invented.reference


def test_a_panel_a_moving_zone_and_a_hole_of_the_height_model_are_refused(stored):
    row, column = never_missing(stored)
    latitude, longitude = place_of(stored, row, column)
    around = [
        [longitude + x, latitude + y]
        for x, y in ((-1e-3, -1e-3), (1e-3, -1e-3), (1e-3, 1e-3), (-1e-3, -1e-3))
    ]
    face = {"name": "1201", "begin": "2030-01-01", "geometry": {"type": "Polygon", "coordinates": [around]}}
    stored.update(stored.members)
    publish_revision(stored.site, stored.track, stored.ledger, stored.data, AS_OF)
    plain = stored.site

    stored.site = plain.model_copy(update={"faces": (Face.model_validate(face),)})
    with pytest.raises(BadInputError, match=r"within 1000 m of a face of the mine plan.*datum\.draw_m"):
        move(stored, place=(latitude, longitude))
    stored.site = plain
    geometry = stored.invented.store.geometry_path
    with h5py.File(geometry, "r+") as file:
        file["height"][row, column] = np.nan
    with pytest.raises(BadInputError, match="is water, or its height is not known"):
        move(stored, place=(latitude, longitude))
    with h5py.File(geometry, "r+") as file:
        file["height"][row, column] = 1100
    with stored.ledger.begin() as session:
        session.execute(
            text(
                "UPDATE sagwatch.point_velocity SET zone_id = 'a1b2c3' FROM sagwatch.point "
                'WHERE point.id = point_id AND point.row = :row AND point."column" = :column'
            ),
            {"row": row, "column": column},
        )
    with pytest.raises(BadInputError, match="lies in zone a1b2c3, which moves"):
        move(stored, place=(latitude, longitude))


def test_a_move_is_in_force_when_it_is_published_and_an_edited_site_file_moves_nothing(stored):
    stored.update(stored.members)
    publish_revision(stored.site, stored.track, stored.ledger, stored.data, AS_OF)
    in_force = "SELECT in_force FROM analyst.reference_points"
    told = "SELECT text FROM sagwatch.operation_event WHERE kind = 'reference_not_moved'"
    place = place_of(stored, *never_missing(stored))
    assert query(stored, in_force) == [(True,)]
    assert query(stored, "SELECT refer_to FROM analyst.reference_points") == [("point",)]

    named = stored.track.model_copy(
        update={"reference": ReferencePlace(latitude=place[0], longitude=place[1])}
    )
    stored.site = stored.site.model_copy(update={"tracks": (named,)})
    for _ in range(2):
        stored.update()
    pinned = stored.ledger.sites.track(stored.track.id)
    assert (pinned.reference_row, pinned.reference_column) == stored.invented.reference
    [(said,)] = query(stored, told)
    assert "re-reference`, or take the key `reference` out" in said

    move(stored, place=place)
    assert query(stored, in_force) == [(False,)]
    stored.update()
    publish_revision(stored.site, stored.track, stored.ledger, stored.data, AS_OF)
    assert query(stored, in_force) == [(True,)]
    assert len(query(stored, told)) == 1


def test_a_reference_without_coherence_is_told_once_a_month(stored):
    told = "SELECT text FROM sagwatch.operation_event WHERE kind = 'reference_incoherent'"
    stored.update(stored.members)
    assert query(stored, told) == []

    stored.pin(19, 8)  # water: it has phase, of noise
    for _ in range(2):
        stored.update()

    [(said,)] = query(stored, told)
    assert "the 6 newest interferograms have a median coherence of 0.0" in said


def test_while_the_reference_is_lost_nothing_is_judged_and_the_operators_are_told_once(stored):
    rules = {"health": {"reference_lost_after": 2}}
    stored.site = stored.site.model_copy(update={"alerts": type(stored.site.alerts).model_validate(rules)})
    stored.ledger.sites.sync([stored.site], AS_OF)
    stored.pin(*LOST)
    stored.update(stored.until(stored.dates[-2]))
    publish_revision(stored.site, stored.track, stored.ledger, stored.data, AS_OF)
    judged = query(stored, "SELECT epoch FROM sagwatch.judgement ORDER BY epoch")
    assert judged[-1] == (stored.dates[-2],)
    assert check_health(stored.ledger, AS_OF) == 0

    stored.accept_more(stored.members)
    update_stack(stored.site, stored.track, stored.ledger, stored.data, AS_OF)
    publish_revision(stored.site, stored.track, stored.ledger, stored.data, AS_OF)

    assert query(stored, "SELECT epoch FROM sagwatch.judgement ORDER BY epoch") == judged
    assert check_health(stored.ledger, AS_OF) == 1
    assert check_health(stored.ledger, AS_OF) == 0
    [(told,)] = query(stored, "SELECT text FROM sagwatch.operation_event WHERE kind = 'reference_lost'")
    assert "the 2 newest interferograms of invented/t011a" in told

    row, column = never_missing(stored)
    move(stored, place=place_of(stored, row, column))
    stored.update()
    publish_revision(stored.site, stored.track, stored.ledger, stored.data, AS_OF)
    assert query(stored, "SELECT max(epoch) FROM sagwatch.judgement") == [(stored.dates[-1],)]
    assert check_health(stored.ledger, AS_OF) == 0
