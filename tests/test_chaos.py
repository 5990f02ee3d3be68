"""Some of the faults of benchmarks/chaos.py, each kind at least once over the seeds."""

import random

import pytest

pytest.importorskip("openrlhf", reason="the host is not installed")

from fault_checks import check_whole, outcome
from fault_setting import setting_of
from faults import FAULTS, Chaos
from faulty_run import survive

SEEDS = range(2)


@pytest.fixture(scope="module")
def setting(tmp_path_factory):
    return setting_of(tmp_path_factory.mktemp("task"))


@pytest.fixture(scope="module")
def undisturbed(setting, tmp_path_factory):
    out = tmp_path_factory.mktemp("undisturbed")
    assert survive(setting, out, Chaos(random.Random(0))) == []
    check_whole(setting, out)
    return outcome(out)


@pytest.mark.parametrize("seed", SEEDS)
def test_a_run_full_of_faults_ends_as_one_without(setting, undisturbed, tmp_path, seed):
    chaos = Chaos(random.Random(seed), left=12)
    survive(setting, tmp_path, chaos)
    assert chaos.struck and outcome(tmp_path) == undisturbed


@pytest.mark.parametrize("fault", FAULTS)
def test_every_fault_alone(setting, undisturbed, tmp_path, fault):
    chaos = Chaos(random.Random(fault), armed=fault, calls=2)
    survive(setting, tmp_path, chaos)
    assert chaos.struck == [fault] and outcome(tmp_path) == undisturbed
