"""What there is to see of a network: summaries, filters, feature maps, reports."""
