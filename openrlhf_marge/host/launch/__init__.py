"""Before Ray starts: the flags of a launch script and its data, checked and completed."""
