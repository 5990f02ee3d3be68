"""In the trainer's process: OpenRLHF's trainers and experience maker, extended."""
