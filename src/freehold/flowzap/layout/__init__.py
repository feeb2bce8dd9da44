"""Where everything of a drawing goes: plain geometry, no markup.

Theory of operation, for the views that are grids of boxes (workflow, architecture):

1. `columns` and `rows` give each box a cell of a grid.
2. `routes` finds each wire's way over the lines between and through the cells: few bends, few crossings.
3. `tracks` decides, for wires that share a line, which lies beside which, by where they part.
4. `spacing` turns lines into coordinates; `captions` finds free room for each label and asks `spacing` for more if there is none.
"""
