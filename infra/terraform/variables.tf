variable "project" {
  description = "Google Cloud project id. One environment per project: accounts and topics have fixed names."
  type        = string

  validation {
    condition     = can(regex("^[a-z][a-z0-9-]{4,28}[a-z0-9]$", var.project))
    error_message = "A project id (not its number, not its display name): 6 to 30 of a-z, 0-9 and -, a letter first."
  }
}

variable "region" {
  description = "Region of the functions, Scheduler, Artifact Registry and Vertex AI."
  type        = string
  default     = "us-central1"

  validation {
    condition     = can(regex("^[a-z]+-[a-z]+[0-9]+$", var.region))
    error_message = "A region such as us-central1; neither a zone nor a multi-region."
  }
}

variable "environment" {
  description = "Name of the environment, a label on everything."
  type        = string

  validation {
    condition     = can(regex("^[a-z][a-z0-9-]{0,30}$", var.environment))
    error_message = "Lower-case letters, digits and -, a letter first: dev, prod."
  }
}

variable "bucket" {
  description = "Name of the models' bucket, unique in the world. Null: PROJECT-modeldrop."
  type        = string
  default     = null

  validation {
    condition     = var.bucket == null || can(regex("^[a-z0-9][a-z0-9-]{1,61}[a-z0-9]$", var.bucket))
    error_message = "3 to 63 of a-z, 0-9 and -. Names with dots are domains, and have to be proved."
  }
}

variable "bucket_location" {
  description = "Where the bucket is: a region, or a multi-region (US, EU, ASIA) that holds `region`. Null: `region`."
  type        = string
  default     = null
}

variable "noncurrent_days" {
  description = "For how many days a replaced or deleted object can be brought back."
  type        = number
  default     = 30

  validation {
    condition     = var.noncurrent_days >= 1 && var.noncurrent_days <= 3650
    error_message = "From 1 to 3650 days."
  }
}

variable "firestore_database" {
  description = "Firestore database id: (default), or 4 to 63 of a-z, 0-9 and -."
  type        = string
  default     = "(default)"

  validation {
    condition     = can(regex("^(\\(default\\)|[a-z][a-z0-9-]{2,61}[a-z0-9])$", var.firestore_database))
    error_message = "(default), or 4 to 63 of a-z, 0-9 and -, a letter first."
  }
}

variable "firestore_location" {
  description = "Where the database is: a region, or a multi-region (nam5, eur3). It cannot be moved. Null: `region`."
  type        = string
  default     = null
}

variable "firestore_backup_days" {
  description = "For how many days a daily backup of the database is kept; 0: none."
  type        = number
  default     = 7

  validation {
    condition     = var.firestore_backup_days >= 0 && var.firestore_backup_days <= 98
    error_message = "From 0 to 98 days: Firestore keeps daily backups for 14 weeks at most."
  }
}

variable "deletion_protection" {
  description = "Whether the database refuses to be deleted, and the bucket while there is anything in it; by whomever. What Terraform may not destroy is another thing: teardown_override.tf.example."
  type        = bool
  default     = true
}

variable "mounted_secrets" {
  description = "Which secrets of infra/functions.yaml are in use; the output deployer_flags tells the deployer."
  type        = set(string)
  default     = []

  validation {
    condition     = length(setsubtract(var.mounted_secrets, local.known_secrets)) == 0
    error_message = "infra/functions.yaml has no secret of that name."
  }
}

variable "policy_secrets" {
  description = "Names of the secrets that policies and settings may refer to: webhooks, tokens, passwords. Made here, empty."
  type        = set(string)
  default     = []

  validation {
    condition     = alltrue([for name in var.policy_secrets : can(regex("^[A-Za-z0-9_-]{1,255}$", name))])
    error_message = "A secret's own name, without projects/…/secrets/."
  }

  validation {
    condition     = length(setintersection(var.policy_secrets, local.known_secrets)) == 0
    error_message = "Keys of signatures and redaction are no secrets for policies: whoever writes a policy could send them out."
  }
}

variable "policy_topics" {
  description = "Names of the topics that policies may publish to (targets and channels of type pubsub). Made here."
  type        = set(string)
  default     = []

  validation {
    condition     = alltrue([for name in var.policy_topics : can(regex("^[A-Za-z][A-Za-z0-9._~+%-]{2,254}$", name)) && !startswith(lower(name), "goog")])
    error_message = "A topic's own name, without projects/…/topics/."
  }

  validation {
    condition     = length(setintersection(var.policy_topics, local.own_topics)) == 0
    error_message = "A policy must not publish to modeldrop's own topics: its messages would be taken for predictions."
  }
}

variable "publishers" {
  description = "Who may publish predictions: members such as serviceAccount:app@project.iam.gserviceaccount.com."
  type        = set(string)
  default     = []

  validation {
    condition     = alltrue([for member in var.publishers : can(regex("^(user|group|serviceAccount):[^:@\\s]+@[^:@\\s]+$", member))])
    error_message = "user:…, group:… or serviceAccount:…; never everybody."
  }
}

variable "uploaders" {
  description = "Who may put packages and policies into the bucket: members, as for publishers."
  type        = set(string)
  default     = []

  validation {
    condition     = alltrue([for member in var.uploaders : can(regex("^(user|group|serviceAccount):[^:@\\s]+@[^:@\\s]+$", member))])
    error_message = "user:…, group:… or serviceAccount:…; never everybody."
  }
}

variable "api_callers" {
  description = "Who may call the API. The deployer binds them, as the service is not there before its code; see the output deployer_flags."
  type        = set(string)
  default     = []

  validation {
    condition     = alltrue([for member in var.api_callers : can(regex("^(user|group|serviceAccount):[^:@\\s]+@[^:@\\s]+$", member))])
    error_message = "user:…, group:… or serviceAccount:…; never everybody."
  }
}

# Roles in the API and on the dashboard, on top of being let in: whoever is in none of the lists may look at most.
variable "viewers" {
  description = "Who may look: e-mails, @domain, * (anybody who is let in). Empty: anybody who is let in; behind Identity-Aware Proxy operators and approvers alone."
  type        = set(string)
  default     = []

  validation {
    condition     = alltrue([for who in var.viewers : can(regex("^(\\*|@[^@\\s,|]+|[^@\\s,|:]+@[^@\\s,|]+)$", who))])
    error_message = "An e-mail address, @domain, or *; without user: or group:, which the API is not told."
  }
}

variable "operators" {
  description = "Who may promote, roll back, pause, retrain: as viewers. Empty: nobody."
  type        = set(string)
  default     = []

  validation {
    condition     = alltrue([for who in var.operators : can(regex("^(\\*|@[^@\\s,|]+|[^@\\s,|:]+@[^@\\s,|]+)$", who))])
    error_message = "An e-mail address, @domain, or *; without user: or group:, which the API is not told."
  }
}

variable "approvers" {
  description = "Who may approve: as viewers. Empty: nobody. Operators may not, unless they are in both."
  type        = set(string)
  default     = []

  validation {
    condition     = alltrue([for who in var.approvers : can(regex("^(\\*|@[^@\\s,|]+|[^@\\s,|:]+@[^@\\s,|]+)$", who))])
    error_message = "An e-mail address, @domain, or *; without user: or group:, which the API is not told."
  }
}

variable "iap_audience" {
  description = "What Identity-Aware Proxy's tokens for the API are made for (/projects/NUMBER/…), where it is switched on: docs/deploy.md. Null: Cloud Run itself checks callers."
  type        = string
  default     = null

  validation {
    condition     = var.iap_audience == null || can(regex("^/projects/[0-9]+/[a-zA-Z0-9/_-]+$", var.iap_audience))
    error_message = "/projects/NUMBER/…, with the project's number, as the console shows it."
  }
}

variable "ticks_paused" {
  description = "Whether the Scheduler's jobs stand still: before the first deployment, and while a database is restored."
  type        = bool
  default     = false
}

variable "replay_dead_letters" {
  description = "Whether dead letters are pushed to prediction_logged once more. See pubsub.tf."
  type        = bool
  default     = false
}

variable "alert_emails" {
  description = "Who is told by Cloud Monitoring. Without any, incidents are opened and nobody hears of them."
  type        = set(string)
  default     = []

  validation {
    condition     = alltrue([for address in var.alert_emails : can(regex("^[^@\\s]+@[^@\\s]+$", address))])
    error_message = "E-mail addresses."
  }
}

variable "billing_account" {
  description = "Billing account (XXXXXX-XXXXXX-XXXXXX) to make a budget in. Null: no budget."
  type        = string
  default     = null

  validation {
    condition     = var.billing_account == null || can(regex("^[0-9A-F]{6}-[0-9A-F]{6}-[0-9A-F]{6}$", var.billing_account))
    error_message = "XXXXXX-XXXXXX-XXXXXX, as `gcloud billing accounts list` shows it."
  }
}

variable "budget" {
  description = "The budget of a month, in whole units of the billing account's own currency."
  type        = number
  default     = 100

  validation {
    condition     = var.budget >= 1 && floor(var.budget) == var.budget
    error_message = "A whole number from 1 on."
  }
}
