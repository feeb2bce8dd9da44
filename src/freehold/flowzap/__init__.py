"""FlowZap Code (.fz): read, check, format and draw diagrams. Knows nothing of the rest of Freehold."""

from freehold.flowzap.document import Document, parse, parse_bytes, read
from freehold.flowzap.graph import Edge, Graph, Lane, Loop, Node
from freehold.flowzap.problem import Edit, Problem

__all__ = ["Document", "Edge", "Edit", "Graph", "Lane", "Loop", "Node", "Problem", "parse", "parse_bytes", "read"]
