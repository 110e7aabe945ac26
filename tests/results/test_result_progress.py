"""Progress: silent when quiet or quick, plain lines in a log, one line per method on a terminal."""

from __future__ import annotations

import io
import subprocess
import sys

import pytest
from rich.console import Console

import stuntdouble.results
from stuntdouble.results import Progress


class Watch:
    """A clock that the test turns."""

    def __init__(self):
        self.seconds = 0.0

    def __call__(self):
        return self.seconds


def console(watch, *, terminal):
    return Console(
        file=io.StringIO(), force_terminal=terminal, get_time=watch, width=100, color_system=None
    )


def work(screen, watch, *, step, quiet=False):
    with Progress(quiet=quiet, console=screen) as progress:
        for method in ("software", "storage"):
            progress.stage(method)
            for i, phase in enumerate(("before", "reading", "reading", "after")):
                watch.seconds += step
                progress.emulated(
                    i / 4, phase=phase, seconds=60.0 * i, ios=1000 * i, restore_points=i // 3
                )
    return screen.file.getvalue()


def test_a_log_gets_one_plain_line_per_phase():
    watch = Watch()
    text = work(console(watch, terminal=False), watch, step=0.6)
    lines = text.splitlines()
    assert lines[0] == "software: reading, 0:01:00, 1,000 I/Os, 0 restore points"
    assert lines[-1] == "storage: after, 0:03:00, 3,000 I/Os, 1 restore point"
    assert len(lines) == len(set(lines)) == 6
    assert all(sign.isprintable() or sign == "\n" for sign in text)


@pytest.mark.parametrize("terminal", [True, False])
@pytest.mark.parametrize(("step", "quiet"), [(0.1, False), (10.0, True)])
def test_quick_or_quiet_work_shows_nothing(terminal, step, quiet):
    watch = Watch()
    assert work(console(watch, terminal=terminal), watch, step=step, quiet=quiet) == ""


def test_a_terminal_shows_each_method_and_is_left_clean():
    watch = Watch()
    text = work(console(watch, terminal=True), watch, step=2.0)
    assert "software" in text
    assert "storage" in text
    assert "1,000 I/Os" in text
    assert text.endswith(("\x1b[?25h", "\x1b[2K"))  # cursor shown again, lines erased


def test_drawing_is_limited():
    watch = Watch()
    screen = console(watch, terminal=True)
    with Progress(console=screen) as progress:
        progress.stage("storage")
        watch.seconds = 5.0
        progress.update(0.1, "first")
        drawn = len(screen.file.getvalue())
        for i in range(100):
            progress.update(i / 100, f"step {i}")
        assert len(screen.file.getvalue()) == drawn
        watch.seconds = 5.2
        progress.update(7.0, "\x1b[31mlast")
        assert "last" in screen.file.getvalue()[drawn:]
        assert "\x1b[31m" not in screen.file.getvalue()


def test_an_update_before_any_stage_is_harmless_and_stderr_is_the_default(capsys):
    with Progress() as progress:
        progress.update(0.5, "nothing begun")
    out, err = capsys.readouterr()
    assert out == err == ""
    assert progress._console.stderr


def test_an_update_without_text_names_the_stage():
    watch = Watch()
    screen = console(watch, terminal=False)
    with Progress(console=screen) as progress:
        watch.seconds = 2.0
        progress.stage("verifying")
        progress.stage("writing")
    assert screen.file.getvalue() == "verifying\nwriting\n"


def test_public_names_are_importable_and_nothing_else_is_promised():
    for name in stuntdouble.results.__all__:
        assert getattr(stuntdouble.results, name) is not None
    assert dir(stuntdouble.results) == sorted(stuntdouble.results.__all__)
    assert set(stuntdouble.results._MODULE_OF) == set(stuntdouble.results.__all__)
    with pytest.raises(AttributeError, match="no attribute 'nonsense'"):
        stuntdouble.results.nonsense  # noqa: B018


def test_importing_the_package_is_cheap():
    code = (
        "import sys, stuntdouble.results; "
        "print(*({'plotly', 'rich', 'pydantic', 'numpy'} & set(sys.modules)))"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout.split() == []
