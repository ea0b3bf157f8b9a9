"""What strategies share: consolidation and its shapes, replay, projection, distillation."""
