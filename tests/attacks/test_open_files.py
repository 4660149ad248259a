"""A process may open what the system allows, and connections never take the last of it."""

from __future__ import annotations

import re
import resource
import subprocess
import sys

import pytest
from hypothesis import given
from hypothesis import strategies as st

from tests.support.paths import ROOT
from tidegate.services.gateway.http.connections import RESERVED_FILES, fit_to_files
from tidegate.services.gateway.settings import GatewayLimits

RAISING = """
import resource
from tidegate.brokers.process.open_files import raise_open_files
resource.setrlimit(resource.RLIMIT_NOFILE, (64, 512))
found = raise_open_files()
print(found.before, found.now, found.hard, *resource.getrlimit(resource.RLIMIT_NOFILE))
"""


def test_the_soft_limit_is_raised_to_the_hard_one_and_both_are_said() -> None:
    ran = subprocess.run([sys.executable, "-c", RAISING], capture_output=True, text=True, check=True)
    assert ran.stdout.split() == ["64", "512", "512", "512", "512"]


@given(st.integers(1, 5000), st.integers(1, 5000), st.integers(RESERVED_FILES + 2, 20_000))
def test_connections_leave_the_files_that_the_rest_needs(connections: int, silent: int, files: int) -> None:
    limits = GatewayLimits(max_connections=connections, max_silent_connections=silent)
    fitted = fit_to_files(limits, files)
    assert fitted.max_connections + fitted.max_silent_connections <= max(files - RESERVED_FILES, 2)
    assert fitted.max_connections <= connections
    assert fitted.max_silent_connections <= silent
    if connections + silent <= files - RESERVED_FILES:
        assert fitted == limits


def test_without_a_limit_nothing_is_made_smaller() -> None:
    assert fit_to_files(GatewayLimits(), resource.RLIM_INFINITY) == GatewayLimits()


@pytest.mark.parametrize("unit", sorted(path.name for path in (ROOT / "infra" / "systemd").glob("*.service")))
def test_every_unit_may_open_more_than_the_gateway_takes(unit: str) -> None:
    [limit] = re.findall(r"^LimitNOFILE=(\d+)$", (ROOT / "infra" / "systemd" / unit).read_text("utf-8"), re.MULTILINE)
    assert fit_to_files(GatewayLimits(), int(limit)) == GatewayLimits()
