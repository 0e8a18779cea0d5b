"""Making it so: one loop that takes what is wanted and moves Nomad towards it, step by step.

sources     put the ids of deployments on the queue: "look at this one"
queue       gives each id to one worker at a time, coalesced, in order of urgency
loop        get -> observe -> make_plan -> apply -> status_of -> put_status
mirror      answers `observe` from memory, filled by one list and one stream
render, diff, plan, status   decide, and touch nothing
apply, cluster/              do, and decide nothing
controller, runtime          start it all, stop it all
"""
