"""The page in a real browser: it draws, it answers a click, and text from the ledger stays text."""

from __future__ import annotations

import os
import shutil
import threading
from collections.abc import Iterator
from pathlib import Path

import pytest
import uvicorn

from sagwatch.web.app import create_app

from .conftest import KnownLedger

pytestmark = pytest.mark.slow


class _SeesEverything:
    def may_see(self, site: str) -> bool:
        return True


@pytest.fixture
def page_url(known: KnownLedger) -> Iterator[str]:
    config = uvicorn.Config(
        create_app(known.reader, _SeesEverything), host="127.0.0.1", port=0, log_level="warning"
    )
    server = uvicorn.Server(config)
    thread = threading.Thread(target=server.run, daemon=True)
    thread.start()
    while not server.started:
        thread.join(0.05)
        assert thread.is_alive(), "the page's server did not start"
    yield f"http://127.0.0.1:{server.servers[0].sockets[0].getsockname()[1]}/"
    server.should_exit = True
    thread.join(10)


@pytest.fixture(scope="module")
def chromium() -> str:
    found = shutil.which("chromium") or shutil.which("chromium-browser") or shutil.which("google-chrome")
    if found is None:
        pytest.skip("no Chromium here: install package chromium")
    return found


def test_the_page_draws_the_map_and_a_click_shows_the_history(
    page_url: str, chromium: str, tmp_path: Path
) -> None:
    from playwright.sync_api import expect, sync_playwright

    complaints: list[str] = []
    foreign: list[str] = []
    with sync_playwright() as playwright:
        browser = playwright.chromium.launch(
            executable_path=chromium,
            args=["--no-sandbox", "--disable-gpu", "--disable-background-networking"],
        )
        page = browser.new_page(viewport={"width": 1400, "height": 1000})
        page.on("console", lambda m: complaints.append(m.text) if m.type == "error" else None)
        page.on("pageerror", lambda problem: complaints.append(str(problem)))
        page.on("request", lambda r: None if r.url.startswith(page_url) else foreign.append(r.url))
        page.goto(page_url)
        page.wait_for_selector(".alert")
        # Not wait_for_function: it asks again through eval(), which the page rightly forbids.
        expect(page.locator("#legend-low")).to_contain_text("100")

        # The bowl's middle is the middle of the grid (20, 30 of 40 x 60), and the whole grid is shown at first.
        box = page.locator("#map").bounding_box()
        assert box is not None
        middle = (box["width"] / 2 + 3, box["height"] / 2 + 3)
        page.locator("#map").hover(position={"x": middle[0], "y": middle[1]})
        assert "-130." in page.locator("#readout").inner_text()
        page.locator("#map").click(position={"x": middle[0], "y": middle[1]})
        page.wait_for_selector("#history svg path.curve")
        assert page.locator("#history svg circle").count() == 12
        assert "-118.5 ± 4.5 mm/yr" in page.locator("#history").inner_text()
        assert "not enough data" in page.locator("#history").inner_text()

        red = page.evaluate(
            """([x, y]) => { const c = document.getElementById('map'), r = devicePixelRatio;
               return [...c.getContext('2d').getImageData(x * r, y * r, 1, 1).data]; }""",
            list(middle),
        )
        assert red[0] > max(80, 2 * red[1]), f"the bowl is not drawn in red: {red}"
        if folder := os.environ.get("SAGWATCH_SCREENSHOTS"):
            page.screenshot(path=Path(folder) / "page.png", full_page=True)

        # A blind spot (20 to 22, 32 to 35) is hatched with dark lines, says why, and can be switched off.
        pixel = (
            box["height"] * 0.96 / 40 if box["height"] / 40 < box["width"] / 60 else box["width"] * 0.96 / 60
        )
        blind = (box["width"] / 2 + 3.5 * pixel, box["height"] / 2 + 1.5 * pixel)
        page.locator("#map").hover(position={"x": blind[0], "y": blind[1]})
        assert "beyond the gradient limit <i>" in page.locator("#readout").inner_text()
        reads = """([x, y]) => { const c = document.getElementById('map'), r = devicePixelRatio;
                   return [...c.getContext('2d').getImageData(x * r, y * r, 1, 1).data]; }"""
        hatched = page.evaluate(reads, list(blind))
        page.locator("#blind").uncheck()
        plain = page.evaluate(reads, list(blind))
        assert hatched[2] > hatched[0], f"no violet line over the blind spot: {hatched}"
        assert plain[0] > 2 * plain[2], f"the velocity below does not come back: {plain}"
        page.locator("#blind").check()
        # By the keyboard another mine is chosen while the pointer stays: the value of this one goes.
        page.locator("#map").hover(position={"x": blind[0], "y": blind[1]})
        expect(page.locator("#readout")).to_contain_text("mm/yr")
        page.locator("#track").select_option("t011a")
        expect(page.locator("#readout")).to_have_text("")

        text = page.locator("#alert-list").inner_text()
        assert "Level 2 since 2024-12-01. Ground moves away from the satellite at 120" in text
        assert "<script>alert(1)</script>" in text, "text from the ledger must be shown as it is"
        assert "Blind spots" not in text
        page.locator("#alert-list summary").click()
        assert "Blind spots: steep ground." in page.locator("#alert-list").inner_text()
        assert page.locator("#alert-list script").count() == 0
        assert "14 acquisitions: 12 used, 1 waiting, 1 rejected" in page.locator("#tracks").inner_text()
        browser.close()
    assert (complaints, foreign) == ([], [])
