"""What lines mean together: lanes and their content, ids, and the rules of flow and loops."""
