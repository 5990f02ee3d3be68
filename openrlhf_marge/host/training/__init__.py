"""Extends OpenRLHF's trainers and experience maker, in the trainer's process."""
