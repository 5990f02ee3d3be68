"""OpenRLHF's engines without a training: exploring a data set, evaluating, and a Ray cluster on CPUs."""
