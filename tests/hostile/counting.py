"""A plugin that counts the cases of the hostile suite, by section: a file of tests is one."""

import os
import shlex
from collections import Counter
from pathlib import Path

from vg_gym.cli.figures import write_figures

SUITE = "tests/hostile/test_"
FIGURES = "VG_GYM_HOSTILE_JSON"
"""Where the counts are also written to, where this variable names a file."""
CASES: Counter[str] = Counter()
FUZZED: Counter[str] = Counter()


def pytest_runtest_logreport(report):
    """Count a test that passed: as many cases as inputs were made for it, else one."""
    if report.when == "call" and report.passed and SUITE in report.nodeid:
        section = report.nodeid.partition(SUITE)[2].partition(".")[0]
        made = dict(report.user_properties).get("fuzzed", 0)
        CASES[section] += made or 1
        FUZZED[section] += made


def pytest_terminal_summary(terminalreporter):
    """The table of docs/robustness.md."""
    if CASES:
        terminalreporter.section("hostile cases that passed")
        terminalreporter.write_line("| section | cases | of a fuzzer |\n|---|---|---|")
        for section, count in sorted(CASES.items()):
            terminalreporter.write_line(f"| {section} | {count:,} | {FUZZED[section]:,} |")
        terminalreporter.write_line(f"| all | {CASES.total():,} | {FUZZED.total():,} |")
        if path := os.environ.get(FIGURES):
            cases, fuzzed = ({**counts, "all": counts.total()} for counts in (CASES, FUZZED))
            figures = {f"{name}: cases": count for name, count in cases.items()}
            figures |= {f"{name}: of a fuzzer": fuzzed.get(name, 0) for name in cases}
            write_figures(Path(path), figures, shlex.join(["pytest", *terminalreporter.config.invocation_params.args]))
