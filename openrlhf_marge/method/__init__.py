"""The paper, without OpenRLHF: guidance, states, exploration, groups, advantages. Read ``explorer.py`` first."""
