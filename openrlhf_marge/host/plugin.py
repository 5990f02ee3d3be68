"""The object that ``--experience_maker marge`` resolves to (entry-point group ``openrlhf.experience_makers``).

Imports of the heavy modules stay inside the methods: flags are read and checked before Ray starts.
"""

from __future__ import annotations

import argparse
from typing import Any

from openrlhf.trainer.experience_maker_registry import ExperienceMakerPlugin

from openrlhf_marge.method.arguments import add_arguments


class MargePlugin(ExperienceMakerPlugin):
    """Supplies MARGE's flags, checks, samples generator, experience maker and trainer."""

    def add_arguments(self, parser: argparse.ArgumentParser) -> None:
        # argparse prints the usage before every error; OpenRLHF's has some 200 flags and would bury the sentence.
        parser.usage = "%(prog)s --experience_maker marge [flags]  (--help lists them)"
        add_arguments(parser)

    def check_arguments(self, args: Any) -> None:
        from openrlhf_marge.host.launch.checks import check_arguments

        check_arguments(args)

    def needs_reference_model(self, args: Any) -> bool:
        return args.marge.reference != "iteration" and super().needs_reference_model(args)

    def needs_log_probs(self, args: Any) -> bool:
        return True  # each step compares them with the policy's, see host/training/same_policy.py

    def samples_generator_class(self, args: Any) -> type:
        from openrlhf_marge.host.rollout.samples_generator import GuidedSamplesGenerator

        return GuidedSamplesGenerator

    def experience_maker_class(self, args: Any) -> type:
        from openrlhf_marge.host.training.experience_maker import GroupExperienceMaker

        return GroupExperienceMaker

    def trainer_class(self, args: Any) -> type:
        if args.train.async_enable:
            return super().trainer_class(args)
        from openrlhf_marge.host.training.trainer import MargeTrainer

        return MargeTrainer

    def async_generator_class(self, args: Any) -> type:
        from openrlhf_marge.host.training.async_trainer import MargeGeneratorActor

        return MargeGeneratorActor

    def async_training_class(self, args: Any) -> type:
        from openrlhf_marge.host.training.async_trainer import MargeTrainingActor

        return MargeTrainingActor
