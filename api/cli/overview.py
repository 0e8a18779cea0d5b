"""What `ai4papi --help` prints: a page that imports nothing (a test holds it to the verbs)."""

PAGE = """\
Usage: ai4papi VERB [OPTIONS] [ARGS]...

  Declare AI deployments, and have them kept running on Nomad.

Deployments:
  apply       Make deployments what the manifests in FILE say.
  get         Show deployments, where they stand and why.
  wait        Wait until a deployment is ready, or gone.
  open        Open an endpoint of a deployment in a browser.
  delete      End a deployment: its job, then its record.
  suspend     Stop the work and free what it holds; spec and history stay.
  resume      Start the work of a suspended deployment again.
  restart     Restart the running work once, where it is.
  history     Show who changed what, newest first.
  events      Show what happened, oldest first.
  logs        Print the log of a deployment, or follow it.
  plan        Compare what should run with what runs.
  rollback    Run an older generation, until the spec is changed.
  trash       Show what you deleted and can still have back.
  undelete    Take a deletion back.

Spec files:
  new         Print a spec file for a module, with a comment on each field.
  diff        Compare what spec files say with what the server has.
  export      Write deployments as spec files that apply to no change.
  sources     Sources of spec files: list them, read one, confirm deletions.
  explain     Say what a field of a spec file is, and what it may be.
  schema      Print the JSON Schema of a spec file, for editors and CI.
  modules     Find modules of the marketplace, show one.

You and your servers:
  login       Log in: by an oidc-agent, or by a code you confirm in a browser.
  logout      Log out: have the tokens revoked, and forget them.
  token       Print your token, for curl and other programs.
  whoami      Show who you are, what you may, what you use and may use.
  can-i       Say whether you may: exit code 0 yes, 1 no.
  doctor      Say what is wrong, here or with --site at the server.
  context     Give servers names, and say which one is meant.
  completion  Print what makes a shell complete verbs, options and names.

For the one who runs the server:
  run         Run the server: the API and the loop behind it.
  reconcile   Run one pass of the loop on this machine's store.
  adopt       Take over jobs that the platform before this one started.
  backup      Copy this machine's store, also while the server runs.
  restore     Put a backup in the place of this machine's store.
  simulate    Serve a simulated Nomad to try things on.

Options:
  -h, --help  Show this page; after a verb, all about that verb.

Exit codes: 0 done, 1 failed or different, 2 usage, 4 not found, 5 not logged
in or forbidden, 6 conflict, 7 quota or policy (a change that is held, too),
8 ended in a bad state, 124 time-out, 130 interrupted.

Server: --server (an address or a context's name), AI4PAPI_SERVER,
AI4PAPI_CONTEXT, the context in use, this machine's. Token: --token-file,
AI4PAPI_TOKEN, the context's file, what `ai4papi login` keeps, var/token.
"""
