"""What runs: each stage reads artifacts, computes, and writes one artifact."""
