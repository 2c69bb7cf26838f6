"""Looking at networks: metrics, figures and a check of gradients."""
