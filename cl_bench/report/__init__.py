"""What people look at: tables and pictures made from stored runs alone."""
