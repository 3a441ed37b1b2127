"""What is read and written: the only place that opens files. No torch here."""
