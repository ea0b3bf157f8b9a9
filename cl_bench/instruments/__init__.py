"""What measures a trained stack: curvature, flatness, temperature, loss, and the probe."""
