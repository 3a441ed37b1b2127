"""Rules run in conda environments that are solved, created and activated for real."""
