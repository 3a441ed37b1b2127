"""What the report is made of, between the artifacts and the page."""
