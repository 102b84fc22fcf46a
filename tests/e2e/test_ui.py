"""A person at the web UI of a fresh storage: looks around, and materialises the leaderboard from the browser."""
# ruff: noqa: S310 - the server is this test's own

import json
import os
import shutil
import signal
import socket
import subprocess
import sys
import time
import urllib.request
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import TypeVar

import pytest
import yaml
from selenium import webdriver
from selenium.common.exceptions import WebDriverException
from selenium.webdriver.common.action_chains import ActionChains
from selenium.webdriver.common.by import By
from selenium.webdriver.common.keys import Keys

from resources.artifacts import ArtifactStore
from tests.assets.making import TINY_HOUSE
from weft.cells import Cell
from weft.data import registry

pytestmark = [
    pytest.mark.e2e,
    pytest.mark.skipif(not (shutil.which("chromium") and shutil.which("chromedriver")), reason="there is no chromium"),
]

REPOSITORY = Path(__file__).parents[2]
FLAGS = ["--headless=new", "--no-sandbox", "--disable-gpu", "--disable-quic", "--no-first-run", "--disable-sync",
         "--disable-background-networking", "--disable-component-update", "--disable-dev-shm-usage",
         "--window-size=1600,1100"]  # fmt: skip
CIT_REC = {
    "ops": {
        **TINY_HOUSE,
        "behaviour__user_states": {"config": {"epochs": 1, "width": 8, "blocks": 1}},
        "alignment__aligned_items": {"config": {"epochs": 2}},
        "cit_rec__prompts": {"config": {"rows": 60, "history": 2}},
        "cit_rec__adapter": {"config": {"epochs": 1, "rank": 2}},
    },
    "resources": {"cells": {"config": {"variants": ["full", "text_only"]}}},
}
"""CIT-Rec on house models that are trained in seconds."""
T = TypeVar("T")


def eventually(look: Callable[[], T], seconds: float, what: str) -> T:
    """The first true answer; answers that fail while a page is being drawn count as none."""
    end = time.monotonic() + seconds
    while time.monotonic() < end:
        try:
            if found := look():
                return found
        except (WebDriverException, OSError):
            pass
        time.sleep(0.5)
    pytest.fail(f"{what} did not happen within {seconds:.0f} s")


@pytest.fixture
def storage(tmp_path: Path) -> Path:
    """A fresh storage whose storefront is the smallest."""
    folder = tmp_path / "storage"
    registry.save(str(folder), registry.specify(str(folder), "storefront", settings={"preset": "tiny"}))
    return folder


@pytest.fixture
def browser(tmp_path: Path) -> Iterator[webdriver.Chrome]:
    options = webdriver.ChromeOptions()
    options.binary_location = str(shutil.which("chromium"))
    for flag in [*FLAGS, f"--user-data-dir={tmp_path / 'profile'}"]:
        options.add_argument(flag)
    driver = webdriver.Chrome(options, webdriver.ChromeService(str(shutil.which("chromedriver"))))
    try:
        yield driver
    finally:
        driver.quit()


@pytest.fixture(params=["weft ui", "dagster dev"])
def address(request: pytest.FixtureRequest, storage: Path, tmp_path: Path) -> Iterator[str]:
    """A running web server with its daemon, started either way."""
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port = probe.getsockname()[1]
    command = {
        "weft ui": [
            "-c",
            "from pipelines.cli import main; main()",
            "ui",
            "--port",
            str(port),
            "--storage",
            str(storage),
        ],
        "dagster dev": ["-m", "dagster", "dev", "-p", str(port)],
    }[request.param]
    environment = {**os.environ, "WEFT_STORAGE": str(storage)}
    environment.pop("DAGSTER_HOME", None)
    with (tmp_path / "server.log").open("w") as log:
        server = subprocess.Popen(
            [sys.executable, *command], cwd=REPOSITORY, env=environment, stdout=log, stderr=log, start_new_session=True
        )
    try:
        url = f"http://127.0.0.1:{port}"
        eventually(lambda: urllib.request.urlopen(f"{url}/server_info", timeout=2).status == 200, 300, "the start")
        yield url
    finally:
        os.killpg(server.pid, signal.SIGINT)
        try:
            server.wait(30)
        except subprocess.TimeoutExpired:
            os.killpg(server.pid, signal.SIGKILL)


def click(browser: webdriver.Chrome, text: str, seconds: float = 60) -> None:
    """Clicks the button that says ``text``."""
    path = f"//button[not(@disabled)][contains(normalize-space(.), '{text}')]"
    eventually(
        lambda: [e.click() or e for e in browser.find_elements(By.XPATH, path)[:1] if e.is_displayed()], seconds, text
    )


def says(browser: webdriver.Chrome, *texts: str) -> bool:
    body = browser.find_element(By.TAG_NAME, "body").text
    return all(text in body for text in texts)


def test_the_leaderboard_is_materialised_from_the_browser(
    address: str, browser: webdriver.Chrome, storage: Path, tmp_path: Path
) -> None:
    # What there is: groups with their assets, descriptions and kinds.
    browser.get(f"{address}/asset-groups")
    groups = ("interactions", "behaviour", "baselines", "house", "content", "reports", "serving")
    eventually(lambda: says(browser, *groups), 90, "the groups")
    browser.save_screenshot(tmp_path / "1-groups.png")
    browser.get(f"{address}/assets/reports/leaderboard")
    eventually(lambda: says(browser, "Test figures of every system", "Polars", "Parquet"), 60, "the asset's page")
    browser.save_screenshot(tmp_path / "2-asset.png")

    # Everything that a leaderboard needs, for one data set.
    location = eventually(lambda: location_of(address), 60, "the code location")
    eventually(lambda: "storefront" in partitions(address), 60, "the registration of data sets")
    browser.get(f"{address}/locations/{location}/jobs/sasrec")
    click(browser, "Materialize all")
    click(browser, "Confirm")  # a system of the leaderboard that this job leaves out has made nothing yet
    eventually(lambda: choose(browser, "storefront"), 120, "the choice of partitions")
    browser.switch_to.active_element.send_keys(Keys.ESCAPE)
    browser.save_screenshot(tmp_path / "3-launch.png")
    click(browser, "Launch")
    browser.save_screenshot(tmp_path / "4-launched.png")

    store = ArtifactStore(storage)
    eventually(lambda: store.exists("reports.leaderboard", Cell("storefront")), 300, "the leaderboard")
    systems = set(store.read("reports.leaderboard", Cell("storefront"))["system"])
    assert systems == {"sasrec"}
    browser.get(f"{address}/runs")
    eventually(lambda: says(browser, "Success"), 120, "the end of the run")
    browser.save_screenshot(tmp_path / "5-runs.png")
    browser.get(f"{address}/assets/reports/leaderboard?partition=storefront")
    eventually(lambda: says(browser, "storefront"), 60, "the materialised asset")
    browser.save_screenshot(tmp_path / "6-leaderboard.png")


@pytest.mark.slow
@pytest.mark.timeout(2700)
@pytest.mark.parametrize("address", ["weft ui"], indirect=True)
def test_cit_rec_is_made_in_two_variants_from_the_launchpad(
    address: str, browser: webdriver.Chrome, storage: Path, tmp_path: Path
) -> None:
    location = eventually(lambda: location_of(address), 180, "the code location")
    eventually(lambda: "storefront" in partitions(address), 180, "the registration of data sets")
    browser.get(f"{address}/locations/{location}/jobs/cit_rec")
    # A click with the shift key opens the Launchpad, with all that can be set.
    path = "//button[not(@disabled)][contains(normalize-space(.), 'Materialize all')]"
    button = eventually(lambda: browser.find_elements(By.XPATH, path), 180, "the button")[0]
    ActionChains(browser).key_down(Keys.SHIFT).click(button).key_up(Keys.SHIFT).perform()
    click(browser, "Confirm", 180)
    scaffold = eventually(lambda: "variants" in edited(browser) and edited(browser), 120, "the configuration")
    assert yaml.safe_load(scaffold)["resources"]["cells"]["config"]["variants"] == ["full"]
    browser.save_screenshot(tmp_path / "1-launchpad.png")

    eventually(lambda: choose_in_launchpad(browser, "storefront"), 120, "the choice of a partition")
    eventually(lambda: edit(browser, yaml.safe_dump(CIT_REC)), 120, "the edit")
    browser.save_screenshot(tmp_path / "2-edited.png")
    browser.find_element(By.XPATH, "//button[not(@disabled)][normalize-space(.)='Materialize']").click()
    run = eventually(lambda: runs(address), 120, "the launch")[0]
    assert yaml.safe_load(run["runConfigYaml"]) == CIT_REC
    eventually(lambda: runs(address)[0]["status"] in {"SUCCESS", "FAILURE"}, 1800, "the end of the run")
    browser.get(f"{address}/runs/{run['runId']}")
    eventually(lambda: says(browser, "Success"), 60, "the word of success")
    browser.save_screenshot(tmp_path / "3-run.png")
    leaves = ArtifactStore(storage).leaves("cit_rec.scored_pairs")
    assert sorted(str(leaf.cell.variant) for leaf in leaves) == ["full", "text_only"]
    assert set(ArtifactStore(storage).read("reports.ablations", Cell("storefront"))["variant"]) == {"text_only"}


_EDITOR = "const editor = [...document.querySelectorAll('.CodeMirror')].at(-1).CodeMirror;"  # the page has one as well


def edited(browser: webdriver.Chrome) -> str:
    return browser.execute_script(f"{_EDITOR} return editor.getValue()")


def edit(browser: webdriver.Chrome, text: str) -> bool:
    """Types over what stands in the Launchpad. A choice of a partition writes there too, a moment later: then again."""
    write = "editor.execCommand('selectAll'); editor.replaceSelection(arguments[0], 'around', '+input')"
    browser.execute_script(f"{_EDITOR} {write}", text)
    time.sleep(5)
    return edited(browser) == text and says(browser, "No errors")


def choose_in_launchpad(browser: webdriver.Chrome, partition: str) -> bool:
    field = browser.find_element(By.XPATH, "//input[@placeholder='Partition']")
    field.click()
    field.send_keys(Keys.CONTROL, "a")
    field.send_keys(partition)
    time.sleep(2)
    for option in browser.find_elements(By.XPATH, f"//*[text()='{partition}']")[:1]:
        option.click()
    time.sleep(2)
    return says(browser, f"partition: {partition}")


def runs(address: str) -> list[dict]:
    return ask(address, "{runsOrError{... on Runs{results{runId status runConfigYaml}}}}")["runsOrError"]["results"]


def choose(browser: webdriver.Chrome, partition: str) -> bool:
    """Opens the list of partitions and takes one. The list closes when the dialog is drawn anew: then once more."""
    browser.find_element(By.XPATH, "//*[text()='Select a partition or create one']").click()
    for _ in range(10):
        if options := browser.find_elements(By.XPATH, f"//*[text()='{partition}']"):
            options[0].click()
            return True
        time.sleep(0.5)
    return False


def ask(address: str, query: str) -> dict:
    request = urllib.request.Request(
        f"{address}/graphql", json.dumps({"query": query}).encode(), {"Content-Type": "application/json"}
    )
    with urllib.request.urlopen(request, timeout=30) as answer:
        return json.load(answer)["data"]


def location_of(address: str) -> str:
    return ask(address, "{repositoriesOrError{... on RepositoryConnection{nodes{location{name}}}}}")[
        "repositoriesOrError"]["nodes"][0]["location"]["name"]  # fmt: skip


def partitions(address: str) -> list[str]:
    query = '{assetNodeOrError(assetKey:{path:["reports","leaderboard"]}){... on AssetNode{partitionKeys}}}'
    return ask(address, query)["assetNodeOrError"]["partitionKeys"]
