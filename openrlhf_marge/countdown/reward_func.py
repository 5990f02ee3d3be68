"""OpenRLHF's ``reward_func`` over the reward ``countdown``, what ``--marge.reward countdown`` is for MARGE."""

from openrlhf_marge.host.domain_rewards import reward_func_of

reward_func = reward_func_of("countdown")
