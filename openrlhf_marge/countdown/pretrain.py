"""Train a base model for Countdown by the loop of the arithmetic task, to the same files.

`python -m openrlhf_marge.countdown.pretrain --out DIR --seed N --level hard`
"""

from openrlhf_marge.arithmetic.pretrain import run
from openrlhf_marge.countdown.levels import LEVELS

if __name__ == "__main__":
    run(LEVELS, "Train the small base model of Countdown.")
