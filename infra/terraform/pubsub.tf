# Topics that functions are pushed from, and where messages go that could not be delivered.
resource "google_pubsub_topic" "own" {
  #checkov:skip=CKV_GCP_83:Encrypted with Google's keys. A key of one's own is one more thing whose loss loses the events; set kms_key_name where a rule asks for it.
  for_each = local.own_topics

  name = each.key

  depends_on = [google_project_service.api]
}

resource "google_pubsub_topic" "policy" {
  #checkov:skip=CKV_GCP_83:Encrypted with Google's keys, like modeldrop's own topics.
  for_each = var.policy_topics

  name = each.key

  depends_on = [google_project_service.api]
}

# Made before there is a function behind it: what is published meanwhile waits, it is not lost.
resource "google_pubsub_subscription" "push" {
  for_each = local.pushed

  name  = each.value.account
  topic = google_pubsub_topic.own[each.value.trigger.topic].id

  ack_deadline_seconds       = each.value.trigger.ack_deadline_seconds # of a push: how long the function may take
  message_retention_duration = "604800s"                               # 7 days

  expiration_policy {
    ttl = "" # never; else a subscription nobody published to for a month is gone
  }

  push_config {
    push_endpoint = local.addresses[each.key]

    oidc_token {
      service_account_email = google_service_account.trigger.email
      audience              = local.addresses[each.key]
    }
  }

  retry_policy {
    minimum_backoff = "10s"
    maximum_backoff = "600s"
  }

  dead_letter_policy {
    dead_letter_topic     = google_pubsub_topic.own[each.value.trigger.dead_letter_topic].id
    max_delivery_attempts = each.value.trigger.max_delivery_attempts
  }
}

# A dead-letter topic without a subscription throws away what it was made to keep.
#
# Replay: after the fix, `terraform apply -var-file=env/ENV.tfvars -var replay_dead_letters=true` pushes all of them to their function once more, and
# =false when none is left (the alert's own figure says so). Events may come twice, that changes nothing. What fails again
# stays here, for 31 days from when it came. To look at some before: gcloud pubsub subscriptions pull NAME --limit=10.
resource "google_pubsub_subscription" "dead_letters" {
  for_each = local.by_dead

  name  = each.key
  topic = google_pubsub_topic.own[each.key].id

  ack_deadline_seconds       = 60
  message_retention_duration = "2678400s" # 31 days, the most there is

  expiration_policy {
    ttl = ""
  }

  dynamic "push_config" {
    for_each = var.replay_dead_letters ? [local.addresses[each.value]] : []

    content {
      push_endpoint = push_config.value

      oidc_token {
        service_account_email = google_service_account.trigger.email
        audience              = push_config.value
      }
    }
  }

  retry_policy {
    minimum_backoff = "60s"
    maximum_backoff = "600s"
  }
}
