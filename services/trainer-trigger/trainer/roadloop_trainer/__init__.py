"""Train small detectors on dataset folders and run them."""
