# One account per function, with what infra/functions.yaml says and no more; docs/security.md has the table with reasons.

locals {
  permissions = merge([
    for name, function in local.functions : {
      for permission in function.permissions :
      "${function.account} ${permission.role} ${permission.scope}" => {
        account = function.account
        role    = permission.role
        kind    = split(":", permission.scope)[0]
        target  = try(split(":", permission.scope)[1], null)
      }
    }
  ]...)

  scope_kinds = toset(["project", "database", "bucket", "folder", "topic", "policy_topics", "account", "policy_secrets", "secret"])
  by_kind     = { for kind in local.scope_kinds : kind => { for key, permission in local.permissions : key => permission if permission.kind == kind } }

  # Accounts that run as something a function starts, and have no permission of their own here (training pipelines).
  started_as = toset([for permission in local.by_kind["account"] : permission.target])
  accounts   = setunion([for function in local.functions : function.account], local.started_as)

  topic_grants = merge(
    { for key, permission in local.by_kind["topic"] : key => merge(permission, { topic = google_pubsub_topic.own[permission.target].name }) },
    merge([for key, permission in local.by_kind["policy_topics"] : {
      for topic in var.policy_topics : "${key} ${topic}" => merge(permission, { topic = google_pubsub_topic.policy[topic].name })
    }]...),
  )
  secret_grants = merge(
    { for key, permission in local.by_kind["secret"] : key => merge(permission, { secret = permission.target }) if contains(var.mounted_secrets, permission.target) },
    merge([for key, permission in local.by_kind["policy_secrets"] : {
      for secret in var.policy_secrets : "${key} ${secret}" => merge(permission, { secret = secret })
    }]...),
  )
}

resource "google_service_account" "runtime" {
  for_each = local.accounts

  account_id   = each.key
  display_name = "modeldrop: ${coalesce(join(", ", [for name, function in local.functions : name if function.account == each.key]), "what functions start")}"

  lifecycle {
    precondition {
      condition     = alltrue([for permission in local.permissions : contains(local.scope_kinds, permission.kind)])
      error_message = "infra/functions.yaml has a permission with a scope that is not known here: it would be granted nowhere."
    }
  }

  depends_on = [google_project_service.api]
}

# --- what functions.yaml says ----------------------------------------------------------------------------------------

resource "google_project_iam_custom_role" "own" {
  for_each = local.functions_table.roles

  role_id     = each.key
  title       = each.value.title
  permissions = each.value.permissions

  depends_on = [google_project_service.api]
}

resource "google_project_iam_member" "runtime" {
  for_each = local.by_kind["project"]

  project = var.project
  role    = startswith(each.value.role, "roles/") ? each.value.role : google_project_iam_custom_role.own[each.value.role].name
  member  = google_service_account.runtime[each.value.account].member
}

resource "google_project_iam_member" "database" {
  for_each = local.by_kind["database"]

  project = var.project
  role    = each.value.role
  member  = google_service_account.runtime[each.value.account].member

  # Databases have no policies of their own; a condition on the project's keeps it to this one.
  condition {
    title       = "modeldrop-database"
    description = "The database ${var.firestore_database} alone"
    expression  = "resource.name == \"projects/${var.project}/databases/${var.firestore_database}\""
  }
}

resource "google_storage_bucket_iam_member" "runtime" {
  for_each = local.by_kind["bucket"]

  bucket = google_storage_bucket.models.name
  role   = each.value.role
  member = google_service_account.runtime[each.value.account].member
}

resource "google_storage_bucket_iam_member" "folder" {
  for_each = local.by_kind["folder"]

  bucket = google_storage_bucket.models.name
  role   = each.value.role
  member = google_service_account.runtime[each.value.account].member

  condition {
    title       = "${each.value.target}-alone"
    description = "Below ${each.value.target}/ alone"
    expression  = local.below["${each.value.target}/"]
  }
}

resource "google_pubsub_topic_iam_member" "runtime" {
  for_each = local.topic_grants

  topic  = each.value.topic
  role   = each.value.role
  member = google_service_account.runtime[each.value.account].member
}

resource "google_service_account_iam_member" "runtime" {
  for_each = local.by_kind["account"]

  service_account_id = google_service_account.runtime[each.value.target].name
  role               = each.value.role
  member             = google_service_account.runtime[each.value.account].member
}

resource "google_secret_manager_secret_iam_member" "runtime" {
  for_each = local.secret_grants

  secret_id = google_secret_manager_secret.secret[each.value.secret].secret_id
  role      = each.value.role
  member    = google_service_account.runtime[each.value.account].member
}

# --- who calls the functions -------------------------------------------------------------------------------------------

# Scheduler, the push subscriptions and Eventarc call with tokens of this account. That it may call a function is bound by
# the deployer, on the function alone (invoked_by in the table); here is what the platform needs to use it.
resource "google_service_account" "trigger" {
  account_id   = "modeldrop-trigger"
  display_name = "modeldrop: calls functions"

  depends_on = [google_project_service.api]
}

locals {
  pubsub_agent = "serviceAccount:service-${data.google_project.this.number}@gcp-sa-pubsub.iam.gserviceaccount.com"
}

resource "google_service_account_iam_member" "pubsub_makes_tokens" {
  service_account_id = google_service_account.trigger.name
  role               = "roles/iam.serviceAccountOpenIdTokenCreator"
  member             = local.pubsub_agent

  depends_on = [google_pubsub_topic.own] # before there is a topic there may be no agent
}

resource "google_pubsub_topic_iam_member" "pubsub_publishes_dead_letters" {
  for_each = local.by_dead

  topic  = google_pubsub_topic.own[each.key].name
  role   = "roles/pubsub.publisher"
  member = local.pubsub_agent
}

resource "google_pubsub_subscription_iam_member" "pubsub_takes_dead_letters" {
  for_each = local.pushed

  subscription = google_pubsub_subscription.push[each.key].name
  role         = "roles/pubsub.subscriber"
  member       = local.pubsub_agent
}

resource "google_pubsub_topic_iam_member" "publisher" {
  for_each = { for pair in setproduct([for function in local.pushed : function.trigger.topic], var.publishers) : join(" ", pair) => pair }

  topic  = google_pubsub_topic.own[each.value[0]].name
  role   = "roles/pubsub.publisher"
  member = each.value[1]
}

# --- who builds and deploys --------------------------------------------------------------------------------------------

resource "google_service_account" "build" {
  account_id   = "modeldrop-build"
  display_name = "modeldrop: Cloud Build, and the deployer in it"

  depends_on = [google_project_service.api]
}

resource "google_project_iam_member" "build" {
  for_each = toset([
    "roles/artifactregistry.writer",  # images of predict, and those of the functions in a repository the platform makes
    "roles/cloudfunctions.developer", # deploys functions, with their triggers
    "roles/logging.logWriter",        # the builds' logs
    "roles/run.developer",            # traffic back to the revision before
  ])

  project = var.project
  role    = each.key
  member  = google_service_account.build.member
}

# Sources of builds, in buckets the platform makes later, with names that are known. Not the models.
resource "google_project_iam_member" "build_reads_sources" {
  project = var.project
  role    = "roles/storage.objectViewer"
  member  = google_service_account.build.member

  condition {
    title       = "sources-of-builds"
    description = "Buckets of Cloud Build and Cloud Functions alone"
    expression = join(" || ", [for start in ["${var.project}_cloudbuild/", "gcf-v2-sources-${data.google_project.this.number}-"] :
    "resource.name.startsWith(\"projects/_/buckets/${start}\")"])
  }
}

# The lock that keeps deployments from each other: this object and no other.
resource "google_storage_bucket_iam_member" "build_takes_turns" {
  bucket = google_storage_bucket.models.name
  role   = "roles/storage.objectUser"
  member = google_service_account.build.member

  condition {
    title       = "deployments-lock"
    description = "The lock of deployments alone"
    expression  = "resource.name == \"projects/_/buckets/${local.bucket_name}/objects/deployments/lock.json\""
  }
}

# Bindings on the functions' services.
resource "google_project_iam_member" "build_binds_invokers" {
  project = var.project
  role    = google_project_iam_custom_role.own["modeldropInvokerBinder"].name
  member  = google_service_account.build.member
}

# To deploy code that runs as an account is to act as it: only as those that functions run as, and the trigger's.
resource "google_service_account_iam_member" "build_deploys_as" {
  for_each = toset([for function in local.deployed : function.account])

  service_account_id = google_service_account.runtime[each.key].name
  role               = "roles/iam.serviceAccountUser"
  member             = google_service_account.build.member
}

resource "google_service_account_iam_member" "build_uses" {
  for_each = {
    trigger = google_service_account.trigger.name
    build   = google_service_account.build.name
  }

  service_account_id = each.value
  role               = "roles/iam.serviceAccountUser"
  member             = google_service_account.build.member
}

# Smoke tests call functions with a token that says who calls; a build makes its own.
resource "google_service_account_iam_member" "build_says_who_it_is" {
  service_account_id = google_service_account.build.name
  role               = "roles/iam.serviceAccountOpenIdTokenCreator"
  member             = google_service_account.build.member
}
