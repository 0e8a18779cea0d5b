"""A pretend Nomad: the embedded default cluster, and the one that tests can break at will.

It holds Nomad's own JSON, gives Nomad's own answers, and is held to a real Nomad by
`tests/contract/test_cluster.py`. Nothing runs: its allocations only pass through the states that
real ones do. Two doors lead to the same state: `cluster` in process, `http` at a port.

    cluster · http (routes, job_routes, variable_routes, asked, answers, pages, filters)
     └ state                          what may be asked of it
        ├ machines · variables        nodes and allocations by hand · Variables
        ├ turns                       one lock, and how time passes
        ├ clients                     allocations start, end, restart, stop
        ├ servers                     evaluations, rollouts, job status (blocked, timers)
        │  └ planning                 what one evaluation decides (sorting, rollouts; pure)
        │     └ scheduler             where it fits (room, devices, targets; pure)
        ├ world                       the tables, their indexes, the event ring
        └ canonical · rules · difference · versions · hcl
                                      what Nomad makes of a job (shapes, tasks; pure)
"""
