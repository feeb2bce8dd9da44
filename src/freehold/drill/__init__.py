"""Run a system under load and faults that a seed chooses, and hold it to a ledger of what its clients were told.

Theory of operation. A drill starts the system on data of its own, each service's API, relay and consumers as processes of
their own (`stage`). Clients write without a pause, and what they were told is kept outside the system (`load`, `writes`).
Several faults are open at once: each has its victim and ends when a write made after it has gone all the way through
that victim (`recovery`). Now and then the load rests until nothing is on its way, and rows, topics, copies and handlers'
effects are compared with the ledger, entity by entity (`observation`, `compare`). Nothing here is part of what runs in
production; a planted bug (`planted`) proves that a drill can fail.
"""
