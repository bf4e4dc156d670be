"""What a person sees while the command runs: progress, rates, the dashboard, text on a terminal."""
