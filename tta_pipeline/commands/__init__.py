"""Commands beside the stages: what a user runs before a study."""
