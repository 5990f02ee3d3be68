"""A run's TensorBoard log, also of a run that was started again."""

import pytest

pytest.importorskip("tensorboard", reason="tensorboard is not installed")

from torch.utils.tensorboard import SummaryWriter

from openrlhf_marge.runs.log import read_series, total


def write(folder, second, **series):
    """A file as a start of a run writes it, named by the second in which it began."""
    writer = SummaryWriter(log_dir=str(folder / str(second)))
    for tag, points in series.items():
        for step, value in points:
            writer.add_scalar(tag, value, step)
    writer.close()
    (file,) = (folder / str(second)).iterdir()
    file.rename(folder / f"events.out.tfevents.{second}.host.1.1")


@pytest.mark.parametrize("folders", [("run", "run"), ("ppo_0101T10:59", "ppo_0101T11:00"), ("b", "a")])
def test_a_resumed_run_is_one_series_without_the_steps_that_were_done_again(tmp_path, folders):
    write(tmp_path / folders[0], 1000000001, tokens=[(1, 10.0), (2, 20.0), (3, 30.0)], eval=[(2, 0.5)], old=[(3, 1.0)])
    write(tmp_path / folders[1], 1000000002, tokens=[(3, 33.0), (4, 40.0)], eval=[(4, 0.75)])
    series = read_series(tmp_path)
    assert series == {"tokens": [(1, 10.0), (2, 20.0), (3, 33.0), (4, 40.0)], "eval": [(2, 0.5), (4, 0.75)]}
    assert total(series, "tokens") == 103.0


def test_a_run_that_began_anew_is_the_last_one_alone_and_an_empty_log_changes_nothing(tmp_path):
    write(tmp_path, 1000000001, tokens=[(1, 10.0), (2, 20.0), (3, 30.0)])
    write(tmp_path, 1000000002, tokens=[(1, 11.0), (2, 21.0)])
    write(tmp_path, 1000000003)
    assert read_series(tmp_path) == {"tokens": [(1, 11.0), (2, 21.0)]}


def test_no_log_is_an_error(tmp_path):
    with pytest.raises(FileNotFoundError, match="holds no TensorBoard log"):
        read_series(tmp_path)
