"""What the programs in scripts/ share: how they start and end, their flags and what they print."""
