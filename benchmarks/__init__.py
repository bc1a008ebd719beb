"""What is measured rather than tested: times and ratios, printed and never asserted."""
