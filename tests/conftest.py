"""Settings of all tests."""

import pytest
from hypothesis import settings

# Machines are shared: a slow example says nothing about the code.
settings.register_profile("shared", deadline=None)
settings.load_profile("shared")


@pytest.fixture(scope="module")
def task(tmp_path_factory):
    """A tiny task for runs of the real stack."""
    from stack import make_task

    return make_task(tmp_path_factory.mktemp("task"))


@pytest.fixture(scope="module")
def cluster(tmp_path_factory):
    """The environment of a Ray cluster that all runs of a file share; W&B writes to the folder WANDB_DIR only."""
    from openrlhf_marge.host.standalone.local_ray import local_ray

    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("WANDB_MODE", "offline")
        patch.setenv("WANDB_DIR", str(tmp_path_factory.mktemp("wandb")))
        with local_ray(num_gpus=6) as environment:
            yield environment
