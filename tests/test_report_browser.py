"""The report in a real browser: it opens, filters and expanders work, nothing overflows, nothing of a model runs."""

import dataclasses

import pytest
from selenium.webdriver.support.wait import WebDriverWait

from openrlhf_marge.cli.report import main

from browser import find_browser, open_browser, open_page, set_width
from large_dump import write_dump as write_large_dump
from scripted_dumps import completion, mixed, problem, save_model, visit, write_dump

pytestmark = pytest.mark.skipif(find_browser() is None, reason="no Chromium with a chromedriver on the PATH")

ATTACK = " </script><script>window.hacked=1</script><img src=x onerror='window.hacked=1'>"


@pytest.fixture(scope="module")
def driver(tmp_path_factory):
    with open_browser(tmp_path_factory.mktemp("browser")) as driver:
        yield driver
        severe = [entry for entry in driver.get_log("browser") if entry["level"] == "SEVERE"]
        assert severe == []


@pytest.fixture(scope="module")
def page(tmp_path_factory):
    """One problem visited twice, one whose first state is saturated, one where the grader failed, one unguided."""
    run = tmp_path_factory.mktemp("run")
    of_attack = [completion(ATTACK), completion(" " + "long" * 300, 0.0, truncated=True)]
    timeout = dataclasses.replace(completion(" 9", 0.0), extra_logs=(("grader_timeout", 1.0),))
    mixed_states = [mixed(1, 1)] * 3
    first = visit([of_attack, *mixed_states[1:]], of=problem("What is <b>1+1</b>?"))
    again = visit(mixed_states, of=problem("What is <b>1+1</b>?"), number=1, correct=True)
    saturated = visit([mixed(2, 0), *mixed_states[1:]], of=problem("What is 2+2?"))
    failed = visit([*mixed_states[:2], [timeout, completion(" 1")]], of=problem("What is 3+3?"))
    (s0, *_) = visit([mixed(0, 2), *mixed_states[1:]], of=problem("What is 4+4?"))
    unguided = dataclasses.replace(s0, state=dataclasses.replace(s0.state, guidance=None), n_states=1)
    write_dump(run / "dump", [*first, *saturated, *failed], again, candidates=[unguided])
    assert main([str(run), "--model", save_model(run / "model")]) == 0
    return run / "report.html"


@pytest.fixture
def opened(driver, page):
    open_page(driver, page)
    return driver


def found(driver):
    return [e.text for e in driver.find_elements("css selector", "#list .question")]


def choose(driver, id, value):
    driver.find_element("css selector", f"#{id} option[value='{value}']").click()
    return found(driver)


def texts(driver, selector):
    return [e.text for e in driver.find_elements("css selector", selector)]


def opened_texts(driver):
    """The completions that are open; a browser tells a page late that something was opened."""
    return WebDriverWait(driver, 10).until(lambda driver: texts(driver, ".completion pre"))


def test_filters_find_the_problems(opened):
    attacked, saturated, failed, unguided = found(opened)
    assert attacked == "What is <b>1+1</b>?"
    assert choose(opened, "guidance", "correct") == [attacked]
    assert texts(opened, ".visits button") == ["Step 2\ncorrect guidance"]
    assert choose(opened, "step", "1") == []
    assert "No problem passes" in texts(opened, "#problem")[0]
    opened.find_element("css selector", "[type=reset]").click()
    assert choose(opened, "states", "all correct") == [saturated]
    assert choose(opened, "states", "all wrong") == [unguided]
    assert choose(opened, "states", "") == [attacked, saturated, failed, unguided]
    assert choose(opened, "failure", "error") == [] and choose(opened, "failure", "timeout") == [failed]
    assert texts(opened, ".tile[aria-pressed=true] strong") == ["0.50"]  # the state with the failure is open
    assert texts(opened, ".badge.warning") == ["grader: timeout"]
    opened.find_element("css selector", "[type=reset]").click()
    opened.find_element("id", "search").send_keys("2+2")
    assert found(opened) == [saturated] and texts(opened, "#count") == ["1 of 4 problems"]
    opened.find_element("css selector", "[type=reset]").click()
    assert choose(opened, "guidance", "candidates") == [unguided] and choose(opened, "guidance", "none") == []


def test_candidates_say_what_they_are(opened):
    choose(opened, "guidance", "candidates")
    assert texts(opened, ".visits button") == ["Step 2\ncandidates"]
    assert "none was trained on" in texts(opened, "#problem")[0]
    assert "0 visits" in texts(opened, "#problem")[0] and len(texts(opened, ".completion summary")) == 2


def test_states_and_completions_open_by_keyboard(opened):
    assert texts(opened, ".tile .note") == ["1 of 2 correct"] * 3
    opened.find_element("css selector", ".tile[data-state='1']").send_keys("\n")
    assert texts(opened, ".completions h4") == ["Completions from s1"]
    assert texts(opened, ".cut[aria-pressed=true]") == ["s1 0.50"]
    assert texts(opened, ".completion pre") == []
    opened.find_element("css selector", ".completion summary").send_keys("\n")
    assert opened_texts(opened) == [" 0 7+1=8\n\nThe answer is: \\boxed{9}.<|im_end|>"]
    buttons = opened.find_elements("css selector", ".visits button")
    buttons[1].send_keys("\n")
    assert [b.get_attribute("aria-pressed") for b in buttons] == ["false", "true"]
    assert texts(opened, "#problem .badge.correct")[0] == "\u2713 correct guidance"


def test_what_a_model_wrote_stays_text(opened):
    opened.find_element("css selector", ".completion summary").click()
    assert opened_texts(opened) == [f"{ATTACK}<|im_end|>"]
    assert opened.execute_script("return window.hacked") is None
    assert opened.execute_script("return document.images.length + document.querySelectorAll('b').length") == 0


@pytest.mark.parametrize("width", [1280, 390])
def test_nothing_is_wider_than_the_screen(opened, width):
    set_width(opened, width)
    opened.execute_script("for (const details of document.querySelectorAll('details')) details.open = true")
    assert len(opened_texts(opened)) == 2
    assert opened.execute_script("return innerWidth") == width
    assert opened.execute_script("return document.documentElement.scrollWidth") <= width


@pytest.mark.slow
def test_a_large_run_opens_fast(driver, tmp_path):
    write_large_dump(tmp_path, 100_000, 12)
    assert main([str(tmp_path), "--model", str(tmp_path / "model")]) == 0
    assert open_page(driver, tmp_path / "report.html") < 10_000  # tests/benchmarks/report.py measures
    assert texts(driver, "#count") == ["500 of 500 problems"] and len(found(driver)) == 100
    driver.find_element("id", "more").click()
    assert len(found(driver)) == 200
