"""A headless Chromium for tests of pages; the benchmark of the report uses it, too."""

from __future__ import annotations

import shutil
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

BROWSERS = ("chromium", "google-chrome", "chrome")
FLAGS = (
    "--headless=new", "--no-sandbox", "--disable-gpu", "--disable-quic", "--no-first-run",
    "--disable-background-networking", "--disable-component-update", "--disable-sync",
)  # fmt: skip


def find_browser() -> str | None:
    """Its path, where its driver is there, too."""
    return next(filter(None, map(shutil.which, BROWSERS)), None) if shutil.which("chromedriver") else None


@contextmanager
def open_browser(profile: Path) -> Iterator:
    """A driver of a browser that keeps what it writes in ``profile``."""
    from selenium import webdriver

    options = webdriver.ChromeOptions()
    options.binary_location = find_browser()
    for flag in (*FLAGS, f"--user-data-dir={profile}"):
        options.add_argument(flag)
    options.set_capability("goog:loggingPrefs", {"browser": "ALL"})
    driver = webdriver.Chrome(options=options, service=webdriver.ChromeService(shutil.which("chromedriver")))
    try:
        yield driver
    finally:
        driver.quit()


def set_width(driver, width: int) -> None:
    """As a phone's or a desktop's screen, which a headless window cannot be made as narrow as."""
    size = dict(width=width, height=900, deviceScaleFactor=1, mobile=width < 600)
    driver.execute_cdp_cmd("Emulation.setDeviceMetricsOverride", size)


def open_page(driver, page: Path) -> int:
    """Load the file; milliseconds until the page said that it is ready, from when it was asked for."""
    driver.get(page.resolve().as_uri())
    return int(driver.execute_script("return document.documentElement.dataset.ready"))
