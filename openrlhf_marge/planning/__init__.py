"""Plans a run before it is paid for: tokens, seconds, memory, disk and GPU-hours of a launch, and GRPO's beside them.

    shape.py                    config.json -> parameters and FLOPs of a model, without its weights
    machines.py, presets.py     what a machine can do: presets, or a JSON file, also a measured one
    pilot.py, by_hand.py        how long prompts, states and completions are: from a dump, or from lengths by hand
    sampling.py, steps.py       what a rollout samples, and over how many steps of the engines
    batches.py                  the micro-batches that its rows make: padded, packed or with common prefixes once
    devices.py, memory.py       which process is on which GPU, and what it keeps there
    seconds.py, disk.py         how long each phase takes; what is left on disk
    planner.py                  all of it for one launch
    advice.py, text.py          the same launch with one other flag; what is printed
    fitting.py                  the log of a run -> a measured machine
"""
