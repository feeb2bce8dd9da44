"""FlowZap Code (.fz): read, check, format and draw diagrams. Knows nothing of the rest of Freehold."""
