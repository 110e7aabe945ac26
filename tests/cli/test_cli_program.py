"""The command as a whole: help, version, the library, completion."""

from __future__ import annotations

import json
import shutil
import subprocess
import sys
from importlib.metadata import version

import pytest
from click.shell_completion import BashComplete

from cli.staged_scenarios import TOML
from stuntdouble.cli import program

COMMANDS = sorted(program.commands)
HEAVY = {
    *("numba", "numpy", "simpy", "pydantic", "plotly", "rich", "fakeredis", "redis", "zstandard"),
    *("asyncio", "stuntdouble.results", "stuntdouble.scenarios", "stuntdouble.backup"),
}


def test_the_commands_are_these():
    assert [
        *("bench", "compare", "completion", "doctor", "export"),
        *("restore", "scenarios", "serve", "unexport"),
    ] == COMMANDS


@pytest.mark.parametrize("option", ["-h", "--help"])
@pytest.mark.parametrize("command", [(), *((name,) for name in COMMANDS)])
def test_every_command_has_help_with_examples(run, command, option):
    done = run(*command, option)
    assert done.exit_code == 0
    assert "Examples:\n" in done.stdout
    prefix = " ".join(["stuntdouble", *command])
    assert prefix in done.stdout.split("Examples:\n")[1]
    assert all(len(line) <= 80 for line in done.stdout.splitlines())


def test_help_imports_nothing_that_is_slow():
    code = (
        "import sys\n"
        "from stuntdouble.cli import program\n"
        "program.main(['compare', '--help'], prog_name='stuntdouble', standalone_mode=False)\n"
        "print(*sys.modules, file=sys.stderr)\n"
    )
    done = subprocess.run(
        [sys.executable, "-c", code], capture_output=True, text=True, timeout=60, check=True
    )
    assert done.stdout.startswith("Usage: stuntdouble compare")
    assert "stuntdouble.cli.compare" in done.stderr.split()
    assert not HEAVY & set(done.stderr.split())


def test_a_real_process_answers_with_the_same_codes():
    def real(*words):
        return subprocess.run(
            [sys.executable, "-m", "stuntdouble.cli", *words],
            capture_output=True, text=True, timeout=60, check=False,
        )  # fmt: skip

    told = real("--version")
    assert (told.returncode, told.stdout) == (0, f"stuntdouble {version('stuntdouble')}\n")
    missing = real("restore", "/no/such/place")
    assert missing.returncode == 2
    assert missing.stderr == "stuntdouble: /no/such/place: there is no such directory\n"
    alone = real()
    assert alone.returncode == 2
    assert alone.stderr.startswith("Usage: stuntdouble ")


def test_the_library_is_listed_and_printed(run, staged):
    lines = run("scenarios").stdout.splitlines()
    assert lines[0].split(maxsplit=1) == ["quickstart", "The quickstart of the library"]
    assert [one["name"] for one in json.loads(run("scenarios", "--json").stdout)] == [
        "quickstart",
        "busy-exchange",
    ]
    assert run("scenarios", "quickstart").stdout == TOML
    assert json.loads(run("scenarios", "quickstart", "--json").stdout)["toml"] == TOML


def test_an_unknown_scenario_lists_close_names_and_the_way_to_all(run, staged):
    done = run("scenarios", "quikstart")
    assert done.exit_code == 2
    assert done.stderr == (
        "stuntdouble: quikstart: no scenario of that name (did you mean quickstart?):"
        " list all with stuntdouble scenarios\n"
    )
    assert "did you mean" not in run("scenarios", "zzz").stderr


@pytest.mark.parametrize(
    ("words", "begun", "offered"),
    [
        (["compare"], "qu", ["quickstart"]),
        (["compare"], "", ["quickstart", "busy-exchange"]),
        (["scenarios"], "bu", ["busy-exchange"]),
        (["scenarios"], "zz", []),
        ([], "comp", ["compare", "completion"]),
        (["compare", "--method"], "", ["software", "storage", "mounted"]),
    ],
)
def test_names_are_completed(staged, words, begun, offered):
    shell = BashComplete(program, {}, "stuntdouble", "_STUNTDOUBLE_COMPLETE")
    assert [item.value for item in shell.get_completions(words, begun)] == offered


def test_where_no_name_fits_a_file_is_completed(staged):
    shell = BashComplete(program, {}, "stuntdouble", "_STUNTDOUBLE_COMPLETE")
    (item,) = shell.get_completions(["compare"], "./mi")
    assert item.type == "file"


@pytest.mark.parametrize("shell", ["bash", "zsh", "fish"])
def test_completion_prints_a_script_and_how_to_install_it(run, shell):
    done = run("completion", shell)
    assert done.exit_code == 0
    assert "_STUNTDOUBLE_COMPLETE" in done.stdout
    assert f"stuntdouble completion {shell} > " in done.stdout
    assert shell != "zsh" or done.stdout.startswith("#compdef stuntdouble")
    if shutil.which(shell):
        checked = subprocess.run(
            [shell, "-n"], input=done.stdout, text=True, timeout=60, check=False
        )
        assert checked.returncode == 0
