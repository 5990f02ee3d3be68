"""Plans a run before it is paid for: tokens, seconds, memory, disk and GPU-hours of a launch, and GRPO's beside them.

shape.py               config.json -> parameters and FLOPs of a model, without its weights
machines.py, local.py  what a machine can do: presets, a JSON file, or this machine without a GPU
visits.py, pilot.py    what visits of problems sample, from a dump; by_hand.py: from mean lengths
pilot_of_flags.py      the one that the command's flags name
sampling.py            tokens of a rollout, prompts read and cached, steps of the engines
batches.py             the micro-batches that its rows make: padded, packed, or with common prefixes once
devices.py, memory.py  which process is on which GPU, and what it keeps there
seconds.py, disk.py    how long each phase takes; what is left on disk
iteration.py           all of these for one rollout and the training on it
planner.py             a launch: its iterations, over the run
advice.py, text.py     the same launch with one other flag; what is printed
fitting.py             log and dump of a run -> a measured machine
"""
