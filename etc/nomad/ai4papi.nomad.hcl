# The platform as a job of the Nomad that it works on. It never touches this job: it is in no list
# of its own, and a change to it is refused.
#
#   nomad namespace apply platform
#   nomad acl policy apply -namespace platform -job ai4papi ai4papi etc/nomad-policy.hcl
#   nomad var put -namespace platform nomad/jobs/ai4papi secret_key=@secret_key \
#     store_url=postgresql://ai4papi:PASSWORD@HOST/ai4papi
#   nomad job run -var image=ai4papi:0.1.0 etc/nomad/ai4papi.nomad.hcl
#
# The policy hangs on the job's workload identity: there is no token to renew. Without ACLs the
# second line is left out.

variable "image" {
  type    = string
  default = "ai4papi"
}

variable "nomad_addr" {
  type        = string
  description = "Nomad as seen from the task; empty: on the node that it runs on."
  default     = ""
}

variable "auth" {
  type    = string
  default = "oidc"
}

variable "host" {
  type    = string
  default = "0.0.0.0"
}

variable "network_mode" {
  type    = string
  default = "bridge"
}

job "ai4papi" {
  namespace = "platform"
  type      = "service"

  group "platform" {
    # One reconciler. API replicas: another job with AI4PAPI_RECONCILE=off and any count.
    count = 1

    network {
      port "http" {}
    }

    update {
      # The new one starts when the old one has ended.
      max_parallel     = 1
      health_check     = "checks"
      min_healthy_time = "10s"
      healthy_deadline = "5m"
      auto_revert      = true
    }

    service {
      name     = "ai4papi"
      provider = "nomad"
      port     = "http"

      check {
        type     = "http"
        path     = "/livez"
        interval = "15s"
        timeout  = "5s"
      }
    }

    task "platform" {
      driver = "docker"
      # A stop waits for looks in progress.
      kill_timeout = "45s"

      identity {
        env = true # NOMAD_TOKEN
      }

      config {
        image           = var.image
        network_mode    = var.network_mode
        ports           = var.network_mode == "host" ? [] : ["http"]
        readonly_rootfs = true
        cap_drop        = ["all"]
        security_opt    = ["no-new-privileges"]

        mount {
          type   = "tmpfs"
          target = "/var/lib/ai4papi"
          tmpfs_options {
            size = 268435456
            mode = 1023
          }
        }
      }

      env {
        AI4PAPI_AUTH = var.auth
        NOMAD_ADDR   = var.nomad_addr != "" ? var.nomad_addr : "http://${attr.unique.network.ip-address}:4646"
        HOST         = var.host
        PORT         = "${NOMAD_PORT_http}"
      }

      # The store is PostgreSQL: an allocation's disk ends with its node.
      template {
        destination = "secrets/platform.env"
        env         = true
        change_mode = "restart"
        data        = <<-EOT
        {{ with nomadVar "nomad/jobs/ai4papi" }}
        AI4PAPI_STORE_URL={{ .store_url | toJSON }}
        AI4PAPI_SECRET_KEY={{ .secret_key | toJSON }}
        {{ end }}
        EOT
      }

      resources {
        cpu    = 500
        memory = 512
      }
    }
  }
}
