"""What every network needs: inputs, logits, checkpoints, hidden activations."""
