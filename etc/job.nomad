# The job that every deployment becomes. Plain HCL without a template language: it is parsed once,
# and the values marked "set" are then filled in for each deployment. Everything else is yours.
#
# Kept by name, because values are set there: group "usergroup", task "usertask", the ports
# "deepaas", "monitor" and "lab", the template "secrets/ai4papi.env". Any task or service may carry
# `when` in its meta; it is dropped from a deployment that did not choose it:
#   when = "service=jupyterlab"   the service to run is jupyterlab (or deepaas)
#   when = "storage"              there is a storage to mount
#   when = "gpu"                  there are GPUs
#
# A change here reaches a deployment with its next change by the user, never by itself: changed
# jobs restart their containers.

job "userjob" { # set: id, name, namespace
  type        = "service"
  datacenters = ["*"]
  priority    = 50

  # Where deployments may run: constraints and affinities go here. For example:
  #   constraint {
  #     attribute = "${meta.type}"
  #     value     = "compute"
  #   }

  # Set when the job is created and unchanged from then on, except the version: it is yours.
  meta {
    owner            = ""
    owner_name       = ""
    title            = ""
    description      = ""
    ai4papi_uid      = ""
    managed_by       = "ai4papi"
    template_version = "1"
  }

  ui {
    description = "" # set: title and description of the moment; a change restarts nothing
  }

  group "usergroup" {
    count = 1

    # One container each: there is nothing to roll. The deadlines leave time for images of many GB.
    # Going back to an older version by itself would fight with what the user wishes.
    update {
      max_parallel      = 1
      health_check      = "task_states"
      min_healthy_time  = "10s"
      healthy_deadline  = "55m"
      progress_deadline = "1h"
      auto_revert       = false
    }

    # A container that ends is started again on its node, then elsewhere, for as long as it is wanted.
    reschedule {
      delay          = "30s"
      delay_function = "exponential"
      max_delay      = "1h"
      unlimited      = true
    }

    restart {
      attempts = 2
      interval = "30m"
      delay    = "15s"
      mode     = "fail"
    }

    ephemeral_disk {
      size = 20000 # set, in MB
    }

    # Dynamic ports: many deployments fit on one node.
    network {
      port "deepaas" {
        to = 5000
      }
      port "monitor" {
        to = 6006
      }
      port "lab" {
        to = 8888
      }
    }

    # The rules of your load balancer go into the tags of these services. For example:
    #   tags = [
    #     "traefik.enable=true",
    #     "traefik.http.routers.${NOMAD_JOB_ID}-deepaas.rule=Host(`deepaas-${NOMAD_JOB_ID}.example.org`)",
    #   ]
    service {
      name     = "${NOMAD_JOB_ID}-deepaas"
      port     = "deepaas"
      provider = "nomad"
    }

    service {
      name     = "${NOMAD_JOB_ID}-monitor"
      port     = "monitor"
      provider = "nomad"
    }

    service {
      name     = "${NOMAD_JOB_ID}-lab"
      port     = "lab"
      provider = "nomad"
      meta {
        when = "service=jupyterlab"
      }
    }

    task "usertask" {
      driver = "docker"

      config {
        image              = "deephdc/deep-oc-image-classification-tf:latest" # set
        image_pull_timeout = "30m"
        command            = "deep-start"
        args               = ["--deepaas"] # set
        ports              = ["deepaas", "monitor", "lab"]
      }

      # Set. No secrets here: Nomad expands ${...} in env, and shows env to whoever may read jobs.
      env {
        RCLONE_CONFIG               = ""
        RCLONE_CONFIG_RSHARE_TYPE   = "webdav"
        RCLONE_CONFIG_RSHARE_URL    = ""
        RCLONE_CONFIG_RSHARE_VENDOR = ""
        RCLONE_CONFIG_RSHARE_USER   = ""
      }

      # The secrets, jupyterPASSWORD and RCLONE_CONFIG_RSHARE_PASS: read from the Variable at
      # nomad/jobs/<job id> and handed over byte for byte. Dropped where there are none.
      template {
        destination = "secrets/ai4papi.env"
        perms       = "0600"
        env         = true
        change_mode = "restart"
        data        = <<EOF
{{ with nomadVar (print "nomad/jobs/" (env "NOMAD_JOB_ID")) }}{{ range .Tuples }}
{{ .K }}={{ .V | toJSON }}
{{ end }}{{ end }}
EOF
      }

      # Below the smallest disk that userconf.yaml allows: Nomad counts the logs into it.
      logs {
        max_files     = 3
        max_file_size = 10
      }

      resources {
        cpu    = 1000 # set, or `cores` where main_conf.yaml says so
        memory = 8000 # set, in MB

        # Set, or dropped where no GPU is asked for.
        device "nvidia/gpu" {
          count = 1
          affinity {
            attribute = "${device.model}"
            value     = "Tesla K80"
            weight    = 50
          }
        }
      }
    }
  }
}
