"""The pages in a real headless browser, driven over Chromium's debugging protocol.

Needs a Chromium: `SEAR_CHROMIUM` names its binary, else it is looked for on PATH (Debian's package `chromium`).
"""

from __future__ import annotations

import itertools
import json
import os
import shutil
import subprocess
import time
from pathlib import Path
from typing import Any

import pytest
from websockets.sync.client import ClientConnection, connect

from tasks.report_html import write_report
from tasks.report_input import GateDecision, ReportInput, Transcript
from tasks.study_html import write_study
from tasks.study_plots import figures_of
from tasks.study_result import StudyResult

NAMES = ("chromium", "chromium-browser", "google-chrome", "google-chrome-stable", "chrome")
FLAGS = (
    "--headless", "--no-sandbox", "--disable-gpu", "--no-first-run", "--disable-background-networking",
    "--disable-component-update", "--disable-sync", "--disable-quic", "--disable-dev-shm-usage",
    "--remote-debugging-port=0", "--remote-allow-origins=*",
)  # fmt: skip
PLANTED = (
    "<script>window.planted = 1; document.title = 'planted'</script>"
    "<img src='http://127.0.0.1:9/x.png' onerror='window.planted = 2'></details></article>"
)
# elements that reach beyond the window's right edge and lie in nothing that scrolls
TOO_WIDE = """[...document.querySelectorAll('main *, header *')].filter(element =>
    element.getBoundingClientRect().right > 361 && !element.closest('.scroll, .skip')
    && element.checkVisibility()).map(element => element.outerHTML.slice(0, 120))"""
OPENS_WITHIN = 2.0  # seconds


class Browser:
    """One tab of a headless Chromium; what its console said, threw and asked the network for is kept."""

    def __init__(self, socket: ClientConnection) -> None:
        self.socket, self.number, self.session = socket, itertools.count(1), ""
        self.events: list[dict[str, Any]] = []
        target = self.call("Target.createTarget", url="about:blank")["targetId"]
        self.session = self.call("Target.attachToTarget", targetId=target, flatten=True)["sessionId"]
        for domain in ("Page", "Runtime", "Log", "Network"):
            self.call(f"{domain}.enable")

    def call(self, method: str, **params: Any) -> dict[str, Any]:
        number = next(self.number)
        message = {"id": number, "method": method, "params": params}
        self.socket.send(json.dumps(message | ({"sessionId": self.session} if self.session else {})))
        while (answer := self._receive()).get("id") != number:
            self.events.append(answer)
        assert "error" not in answer, answer
        return answer["result"]

    def open(self, path: Path) -> float:
        """Navigate and wait for the load event and a first frame; seconds that it took."""
        self.events.clear()
        started = time.perf_counter()
        self.call("Page.navigate", url=path.resolve().as_uri())
        while not any(event.get("method") == "Page.loadEventFired" for event in self.events):
            self.events.append(self._receive())
        self.js("new Promise(done => requestAnimationFrame(() => requestAnimationFrame(() => done(1))))")
        return time.perf_counter() - started

    def js(self, expression: str) -> Any:
        result = self.call("Runtime.evaluate", expression=expression, awaitPromise=True, returnByValue=True)
        assert "exceptionDetails" not in result, result
        return result["result"].get("value")

    def press(self, key: str, code: int, text: str = "") -> None:
        common = {"key": key, "code": key, "windowsVirtualKeyCode": code}
        self.call("Input.dispatchKeyEvent", type="keyDown", **common, **({"text": text} if text else {}))
        self.call("Input.dispatchKeyEvent", type="keyUp", **common)

    @property
    def complaints(self) -> list[dict[str, Any]]:
        bad = (
            "Runtime.exceptionThrown",
            "Log.entryAdded",
            "Runtime.consoleAPICalled",
            "Network.loadingFailed",
        )
        return [event for event in self.events if event.get("method") in bad]

    @property
    def requests(self) -> list[str]:
        sent = [e for e in self.events if e.get("method") == "Network.requestWillBeSent"]
        return [event["params"]["request"]["url"] for event in sent]

    def _receive(self) -> dict[str, Any]:
        return json.loads(self.socket.recv(timeout=60))


def chromium() -> str | None:
    named = os.environ.get("SEAR_CHROMIUM")
    return named or next((path for name in NAMES if (path := shutil.which(name))), None)


@pytest.fixture(scope="module")
def browser(tmp_path_factory):
    binary = chromium()
    if binary is None:
        pytest.skip("no Chromium on PATH and SEAR_CHROMIUM is not set")
    profile = tmp_path_factory.mktemp("profile")
    process = subprocess.Popen(
        [binary, *FLAGS, f"--user-data-dir={profile}", "about:blank"],
        stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL,
    )  # fmt: skip
    try:
        port_file, until = profile / "DevToolsActivePort", time.monotonic() + 60
        while not (port_file.is_file() and len(port_file.read_text().splitlines()) == 2):
            assert process.poll() is None, f"{binary} ended with {process.returncode}"
            assert time.monotonic() < until, f"{binary} opened no debugging port"
            time.sleep(0.05)
        port, path = port_file.read_text().splitlines()
        with connect(f"ws://127.0.0.1:{port}{path}", max_size=None) as socket:
            yield Browser(socket)
    finally:
        process.terminate()
        process.wait(20)


def metrics(
    level: float, attacks: tuple[str, ...] = ("harmful_prefill", "benign_hijack")
) -> dict[str, float]:
    names = [
        "dsr",
        "compliance.harmless",
        "compliance.ambiguous",
        "exploration_rate",
        "correct.own",
        "correct.none",
    ]
    names += [f"{base}.{attack}" for base in ("dsr", "compliance.ambiguous") for attack in attacks]
    ends = (("", 0.0), (".low", -0.05), (".high", 0.05))
    return {name + end: level + off - 0.01 * place for place, name in enumerate(names) for end, off in ends}


def history(seed: int) -> list[dict[str, float]]:
    keys = ("reward/answer", "exploration_rate", "flip_rate", "kl", "dead_groups", "length/reasoning")
    return [
        {"step": s, **{k: (s * (p + 3 + seed) % 97) / 97 for p, k in enumerate(keys)}} for s in range(300)
    ]


@pytest.fixture(scope="module")
def run_page(tmp_path_factory) -> Path:
    """Three arms, 60 transcripts, one of them hostile."""
    arms = {"sft": metrics(0.5), "grpo": metrics(0.7), "sear": metrics(0.8)}
    transcripts = [
        Transcript(
            arm=arm, category=("harmful", "harmless", "ambiguous")[n % 3], prompt=f"prompt {n}", answer=f"answer {n}",
            reasoning=f"step one of {n}\nstep two", step_values=[0.2, 0.9], harmful=False,
            verdict="complied" if n % 2 else "refused", attack="harmful_prefill" if n % 4 == 3 else "",
        )
        for arm in arms
        for n in range(20)
    ]  # fmt: skip
    hostile = Transcript(arm="sear", category="harmless", prompt=PLANTED, answer=PLANTED, reasoning=PLANTED,
                         verdict=PLANTED, prefill=PLANTED)  # fmt: skip
    difference = {"dsr": (0.3, 0.2, 0.4), "compliance.harmless": (0.0, -0.1, 0.1),
                  "compliance.ambiguous": (0.2, 0.1, 0.3)}  # fmt: skip
    page = ReportInput(
        arms=arms, differences={"sear": difference}, gate=GateDecision(promoted=True, reasons=["dsr"]),
        transcripts=[*transcripts, hostile], histories={arm: history(n) for n, arm in enumerate(arms)},
        reliability={"answers": [(0.1, 0.1, 5), (0.9, 0.8, 5)]}, judge="oracle", lineage={"commit": "abc"},
    )  # fmt: skip
    return write_report(page, tmp_path_factory.mktemp("run") / "report.html")


def study() -> StudyResult:
    """Six arms, five seeds, one member failed."""
    names = ["sft", "grpo", "grpo_sum", "sear_outcome", "recap", "sear"]
    attacks = ("harmful_prefill", "benign_hijack", "answer_prefill")
    table = {
        arm: {
            name: {"mean": value, "low": value - 0.05, "high": value + 0.05, "n": 5, "sd": 0.04}
            for name, value in metrics(0.4 + 0.08 * place, attacks).items()
            if not name.endswith((".low", ".high"))
        }
        for place, arm in enumerate(names)
    }
    differences = {
        arm: {name: e | {"mean": 0.1, "low": 0.05, "high": 0.15} for name, e in table[arm].items()}
        for arm in names[1:]
    }
    members = [
        {"name": f"{arm}, seed {seed}", "arm": arm, "seed": seed, "status": "finished", "run_id": "ab" * 16,
         "seconds": 90.0, "metrics": metrics(0.6)}
        for arm in names for seed in range(5)
    ]  # fmt: skip
    curves = {
        arm: {
            key: [{"step": row["step"], "mean": row[key], "low": row[key] - 0.1, "high": row[key] + 0.1, "n": 5}
                  for row in history(place)]
            for key in history(0)[0] if key != "step"
        }
        for place, arm in enumerate(names[1:])
    }  # fmt: skip
    members[-1] |= {"status": "failed", "error": f"out of memory {PLANTED}", "metrics": {}}
    return StudyResult.model_validate(
        {"baseline": "sft", "members": members, "arms": table, "differences": differences,
         "shares": [{"share": None, "arms": table, "differences": differences}],
         "collapsed": {"grpo": ["grpo, seed 3"]}, "curves": curves}
    )  # fmt: skip


@pytest.fixture(scope="module")
def study_page(tmp_path_factory) -> Path:
    return write_study(study(), figures_of(study()), tmp_path_factory.mktemp("study") / "report.html")


@pytest.mark.parametrize("page", ["run_page", "study_page"])
def test_a_page_opens_quickly_without_errors_and_asks_nobody_for_anything(browser, page, request):
    path = request.getfixturevalue(page)
    seconds = [browser.open(path)]
    while min(seconds) > OPENS_WITHIN and len(seconds) < 5:  # another process may have had the cores
        seconds.append(browser.open(path))
    assert browser.requests == [path.resolve().as_uri()]
    assert browser.complaints == []
    assert browser.js("document.querySelector('.answer-line').checkVisibility()")
    assert browser.js("document.querySelectorAll('figure svg').length") >= 3
    assert browser.js("getComputedStyle(document.querySelector('.card')).borderRadius") == "12px"
    assert min(seconds) <= OPENS_WITHIN


def test_the_page_of_a_six_arm_study_is_small(study_page):
    assert study_page.stat().st_size <= 5_000_000


def test_what_a_completion_planted_is_text_and_does_nothing(browser, run_page, study_page):
    for path, places in ((run_page, 3), (study_page, 1)):  # prompt, answer, reasoning; a member's error
        browser.open(path)
        assert browser.js("window.planted") is None
        assert browser.js("document.title").startswith("SEAR")
        assert browser.js("document.querySelectorAll('script').length") == 1
        assert browser.js("document.querySelectorAll('img').length") == 0
        shown = "document.querySelector('main').textContent.split('window.planted = 1').length - 1"
        assert browser.js(shown) >= places
        assert browser.requests == [path.resolve().as_uri()] and browser.complaints == []


def test_the_content_policy_stops_a_script_that_would_get_in_all_the_same(browser, run_page, tmp_path):
    broken = tmp_path / "broken.html"
    broken.write_text(
        run_page.read_text().replace("</main>", f"{PLANTED}<script>window.planted = 3</script></main>")
    )
    browser.open(broken)
    assert browser.js("window.planted") is None
    assert browser.complaints  # the browser says what it stopped


def test_harmful_reasoning_is_behind_a_click(browser, run_page):
    browser.open(run_page)
    visible = """[...document.querySelectorAll('.transcript[data-category="{}"] .segment.reasoning')]
        .filter(element => element.checkVisibility()).length"""
    # n % 3 == 0 for n below 20: 7 harmful ones in each of 3 arms
    assert browser.js("document.querySelectorAll('.transcript[data-category=harmful] details').length") == 21
    assert browser.js(visible.format("harmful")) == 0 < browser.js(visible.format("ambiguous"))
    browser.js("document.querySelector('.transcript summary').focus()")
    browser.press("Enter", 13, "\r")
    assert browser.js(visible.format("harmful")) == 1


def test_transcripts_are_filtered_by_keyboard_and_by_every_choice(browser, run_page):
    browser.open(run_page)
    shown = (
        "[...document.querySelectorAll('.transcript')].filter(element => element.checkVisibility()).length"
    )
    assert browser.js(shown) == 61  # 3 arms × 20, and the hostile one

    def choose(name: str, value: str) -> int:
        browser.js(f"""(() => {{ const field = document.getElementById('filters').elements['{name}'];
            if (field.type === 'checkbox') field.checked = {value!r} === 'yes'; else field.value = {value!r};
            field.dispatchEvent(new Event('input', {{bubbles: true}})); }})()""")
        return browser.js(shown)

    assert choose("arm", "sear") == 21
    assert choose("category", "harmful") == 7  # n = 0, 3, 6, 9, 12, 15, 18
    assert choose("attack", "harmful_prefill") == 2  # n = 3 and 15
    assert choose("verdict", "refused") == 0  # both are odd: complied
    assert browser.js("document.getElementById('none-left').checkVisibility()")
    assert browser.js("document.getElementById('shown').textContent") == "0 of 61 shown"
    browser.js("document.querySelector('#filters button[type=reset]').focus()")
    browser.press("Enter", 13, "\r")
    browser.js("new Promise(done => setTimeout(done, 50))")
    assert browser.js(shown) == 61
    assert choose("text", "answer 19") == 3  # one in each arm
    choose("text", "")
    # wrong: harmless or ambiguous and refused; n even, n % 3 not 0: 2 4 8 10 14 16 in 3 arms, and the hostile one
    assert choose("wrong", "yes") == 19


def test_the_first_tab_stop_skips_to_the_answer(browser, run_page):
    browser.open(run_page)
    browser.press("Tab", 9)
    assert browser.js("document.activeElement.className") == "skip"
    assert (
        browser.js("document.activeElement.getBoundingClientRect().left") >= 0
    )  # shown once it has the focus
    browser.press("Enter", 13, "\r")
    assert browser.js("location.hash") == "#answer"


@pytest.mark.parametrize("page", ["run_page", "study_page"])
def test_dark_print_and_narrow_each_have_their_style(browser, page, request):
    browser.open(request.getfixturevalue(page))
    paper = "getComputedStyle(document.body).backgroundColor"
    light = browser.js(paper)
    try:
        browser.call(
            "Emulation.setEmulatedMedia", features=[{"name": "prefers-color-scheme", "value": "dark"}]
        )
        assert browser.js(paper) != light
        colour = "getComputedStyle(document.querySelector('figure svg')).color"
        assert browser.js(colour) == browser.js("getComputedStyle(document.body).color")  # plots follow
        browser.call("Emulation.setEmulatedMedia", media="print", features=[])
        assert browser.js(paper) == "rgb(255, 255, 255)"
        assert not browser.js("document.querySelector('nav.bar').checkVisibility()")
        assert browser.js(
            "[...document.querySelectorAll('details')].every(element => !element.checkVisibility())"
        )
        browser.call("Emulation.setEmulatedMedia", media="", features=[])
        browser.call(
            "Emulation.setDeviceMetricsOverride", width=360, height=740, deviceScaleFactor=1, mobile=True
        )
        assert browser.js(TOO_WIDE) == []
        assert browser.js("document.documentElement.scrollWidth") <= 360
    finally:
        browser.call("Emulation.setEmulatedMedia", media="", features=[])
        browser.call("Emulation.clearDeviceMetricsOverride")
