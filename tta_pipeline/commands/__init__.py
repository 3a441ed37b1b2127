"""Commands beside the stages: what a user runs before or after a study."""
