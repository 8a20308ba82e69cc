"""What the web demo does, step by step and without its page: plain functions, timed."""
