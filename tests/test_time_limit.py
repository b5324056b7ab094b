"""Runs with `--seconds`."""

import pytest

from tests.time_limit import DEADLINE

pytest_plugins = ("pytester",)


@pytest.fixture
def run(pytester: pytest.Pytester, monkeypatch: pytest.MonkeyPatch) -> pytest.Pytester:
    """A run of its own, of two tests."""
    monkeypatch.delenv(DEADLINE, raising=False)
    pytester.makepyfile("def test_right(): pass\ndef test_wrong(): assert False")
    pytester.makeini("[pytest]\naddopts = -p tests.time_limit\nasyncio_default_fixture_loop_scope = function")
    return pytester


def test_tests_that_have_not_begun_in_time_are_left_out_and_counted(run: pytest.Pytester) -> None:
    result = run.runpytest("--seconds", "0")
    result.assert_outcomes(skipped=2)
    result.stdout.fnmatch_lines(["2 tests were left out: this machine needs more than 0 s.*"])
    assert result.ret == 0


@pytest.mark.parametrize("options", [[], ["--seconds", "300"]])
def test_with_time_enough_all_tests_decide(run: pytest.Pytester, options: list[str]) -> None:
    result = run.runpytest(*options)
    result.assert_outcomes(passed=1, failed=1)
    assert result.ret == 1
    result.stdout.no_fnmatch_line("*left out*")


def test_the_slow_kinds_come_last(run: pytest.Pytester) -> None:
    for folder in ("chaos", "routes", "browser", "wire"):
        run.mkpydir(folder).joinpath(f"test_{folder}.py").write_text("def test_it(): pass")
    result = run.runpytest("-v", "routes", "chaos", "browser", "wire")
    order = [line.partition("/")[0] for line in result.outlines if "PASSED" in line]
    assert order == ["routes", "wire", "browser", "chaos"]
