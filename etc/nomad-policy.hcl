# What the token of ai4papi may do in a Nomad with ACLs: this and no more. Apply it with
#
#   nomad acl policy apply -description "ai4papi" ai4papi etc/nomad-policy.hcl
#   nomad acl token create -name ai4papi -policy ai4papi     # its Secret ID is NOMAD_TOKEN
#
# One block for each namespace of nomad.namespaces in main_conf.yaml: copy one for another VO. Every
# line is needed; what each is for stands beside it. The API replicas (AI4PAPI_RECONCILE=off) parse,
# plan and read: they may have the same token.
#
# These capabilities are of Nomad 2.0. An older one knows `submit-job` in the place of parse-job,
# plan-job, register-job, purge-job and evaluate-job.

namespace "ai4eosc" {
  capabilities = [
    "list-jobs",       # what runs of ours
    "read-job",        # a job in full, its allocations, evaluations and rollouts, and their events
    "parse-job",       # etc/job.nomad
    "plan-job",        # what a change would do, before it is made
    "register-job",    # create, change, start again
    "purge-job",       # stop, and forget what was deleted; deregister-job is part of it
    "evaluate-job",    # let the scheduler look again
    "alloc-lifecycle", # restart where it is
    "read-logs",       # what the tasks write
  ]
  variables {
    # Passwords of the jobs, and the mark of the spec store. Tasks read their own without this.
    path "nomad/jobs/*" {
      capabilities = ["read", "write", "destroy"]
    }
  }
}

namespace "imagine" {
  capabilities = [
    "list-jobs",
    "read-job",
    "parse-job",
    "plan-job",
    "register-job",
    "purge-job",
    "evaluate-job",
    "alloc-lifecycle",
    "read-logs",
  ]
  variables {
    path "nomad/jobs/*" {
      capabilities = ["read", "write", "destroy"]
    }
  }
}

# Nodes: which are lost, what they offer, and the devices that appear.
node {
  policy = "read"
}
