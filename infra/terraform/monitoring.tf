# What somebody has to hear of. The texts in the filters are those the code logs; a test holds them against it.

resource "google_monitoring_notification_channel" "email" {
  for_each = var.alert_emails

  display_name = "modeldrop: ${each.key}"
  type         = "email"
  labels       = { email_address = each.key }

  depends_on = [google_project_service.api]
}

locals {
  channels = [for address in sort(var.alert_emails) : google_monitoring_notification_channel.email[address].id]

  services_of_functions = join(" OR ", [for name in sort(keys(local.run_service)) : "resource.labels.service_name=\"${local.run_service[name]}\""])

  # How long a tick may stay away: three of its intervals and a little, as /v1/health has it, and at least ten minutes, as
  # figures of Cloud Run come minutes late. Only ticks of every minute and of every hour are known.
  absent_seconds = {
    for name, function in local.scheduled : name =>
    function.trigger.cron == "* * * * *" ? 600 : (can(regex("^[0-9]+ \\* \\* \\* \\*$", function.trigger.cron)) ? 12000 : null)
  }

  # Of the rules in infra/observability those that a line of the log can say. What becomes of a single model (drift, health,
  # a rollout that is held) is told to its policy's channels, and shown by GET /metrics; no log has it.
  logged = {
    errors = {
      title    = "A function logged an error"
      severity = "WARNING"
      filter   = "severity>=ERROR"
      advice   = "What happened is in the message. What failed for now comes again: as a redelivery, or with the next tick."
    }
    undelivered = {
      title    = "Somebody could not be told"
      severity = "ERROR"
      filter   = "jsonPayload.message:\"could not be told to\""
      advice   = "A channel refused for good, or failed until its news were too old. GET /v1/models/MODEL/history says what they were; the channel is in the model's policy."
    }
    heartbeat = {
      title    = "A tick cannot say that it ran"
      severity = "ERROR"
      filter   = "jsonPayload.message:\"the heartbeat of \" AND jsonPayload.message:\"could not be written\""
      advice   = "The tick answers, but Firestore does not take its heartbeat: see the database's status and quotas."
    }
    incomplete = {
      title    = "A tick could not do its work at a model"
      severity = "WARNING"
      filter   = "(jsonPayload.message:\"could not be moved on: \" OR jsonPayload.message:\"could not be looked at: \")"
      advice   = "The message names the model and says why. The next tick tries again; `modeldrop status MODEL` shows whether it helped."
    }
    quarantined = {
      title    = "Prediction events are quarantined"
      severity = "WARNING"
      filter   = "(jsonPayload.message:\"quarantined \" AND jsonPayload.message:\" prediction events; \")"
      advice   = "An app sends what cannot be read: GET /v1/quarantine says what is wrong. When it is mended, `modeldrop replay` puts back those that can be."
    }
  }
}

resource "google_monitoring_alert_policy" "dead_letters" {
  for_each = local.by_dead

  display_name          = "modeldrop: messages in ${each.key}"
  combiner              = "OR"
  severity              = "ERROR"
  notification_channels = local.channels

  conditions {
    display_name = "There are dead letters"

    condition_threshold {
      filter          = "metric.type=\"pubsub.googleapis.com/subscription/num_undelivered_messages\" AND resource.type=\"pubsub_subscription\" AND resource.labels.subscription_id=\"${google_pubsub_subscription.dead_letters[each.key].name}\""
      comparison      = "COMPARISON_GT"
      threshold_value = 0
      duration        = "0s"

      aggregations {
        alignment_period   = "300s"
        per_series_aligner = "ALIGN_MAX"
      }
    }
  }

  documentation {
    mime_type = "text/markdown"
    content   = "Messages could not be delivered to ${each.value}. They are kept for 31 days. Its log says why; after the fix, replay them: `terraform apply -var-file=env/ENV.tfvars -var replay_dead_letters=true`, and `=false` when none is left."
  }
}

# Predictions are not lost while they wait; after 7 days they are.
resource "google_monitoring_alert_policy" "backlog" {
  for_each = local.pushed

  display_name          = "modeldrop: ${each.value.trigger.topic} wait"
  combiner              = "OR"
  severity              = "WARNING"
  notification_channels = local.channels

  conditions {
    display_name = "The oldest has waited for 15 minutes"

    condition_threshold {
      filter          = "metric.type=\"pubsub.googleapis.com/subscription/oldest_unacked_message_age\" AND resource.type=\"pubsub_subscription\" AND resource.labels.subscription_id=\"${google_pubsub_subscription.push[each.key].name}\""
      comparison      = "COMPARISON_GT"
      threshold_value = 900
      duration        = "300s"

      aggregations {
        alignment_period   = "60s"
        per_series_aligner = "ALIGN_MAX"
      }
    }
  }

  documentation {
    mime_type = "text/markdown"
    content   = "${each.key} does not keep up, or does not take them. See its errors; then max_instances and concurrency in infra/functions.yaml."
  }
}

resource "google_monitoring_alert_policy" "function_errors" {
  display_name          = "modeldrop: functions answer with errors"
  combiner              = "OR"
  severity              = "ERROR"
  notification_channels = local.channels

  conditions {
    display_name = "More than 5 answers of 5xx in 5 minutes, twice"

    condition_threshold {
      filter          = "metric.type=\"run.googleapis.com/request_count\" AND resource.type=\"cloud_run_revision\" AND metric.labels.response_code_class=\"5xx\" AND (${local.services_of_functions})"
      comparison      = "COMPARISON_GT"
      threshold_value = 5
      duration        = "300s" # one burst comes again by itself

      aggregations {
        alignment_period     = "300s"
        per_series_aligner   = "ALIGN_DELTA"
        cross_series_reducer = "REDUCE_SUM"
        group_by_fields      = ["resource.labels.service_name"]
      }
    }
  }

  documentation {
    mime_type = "text/markdown"
    content   = "The log of the service says why. If it began with a deployment: `gcloud run services update-traffic SERVICE --to-revisions REVISION=100`."
  }
}

# Answers of 2xx that stay away: the Scheduler does not come, may not call, or the tick fails. It can only be noticed once the
# tick has answered at least once; a first deployment is looked at by its smoke test.
resource "google_monitoring_alert_policy" "stale_tick" {
  for_each = local.scheduled

  display_name          = "modeldrop: ${each.key} stays away"
  combiner              = "OR"
  severity              = "CRITICAL"
  notification_channels = local.channels

  conditions {
    display_name = "No answer of 2xx"

    condition_absent {
      filter   = "metric.type=\"run.googleapis.com/request_count\" AND resource.type=\"cloud_run_revision\" AND metric.labels.response_code_class=\"2xx\" AND resource.labels.service_name=\"${local.run_service[each.key]}\""
      duration = "${local.absent_seconds[each.key]}s"

      aggregations {
        alignment_period     = "60s"
        per_series_aligner   = "ALIGN_DELTA"
        cross_series_reducer = "REDUCE_SUM"
      }
    }
  }

  documentation {
    mime_type = "text/markdown"
    content   = "Is the job `${google_cloud_scheduler_job.tick[each.key].name}` paused or failing? `gcloud scheduler jobs describe`, then the function's log. Nothing is lost meanwhile; nothing moves on, either."
  }
}

# One message in the log is enough. At most one mail an hour each.
resource "google_monitoring_alert_policy" "logged" {
  for_each = local.logged

  display_name          = "modeldrop: ${lower(each.value.title)}"
  combiner              = "OR"
  severity              = each.value.severity
  notification_channels = local.channels

  conditions {
    display_name = each.value.title

    condition_matched_log {
      filter = "resource.type=\"cloud_run_revision\" AND (${local.services_of_functions}) AND ${each.value.filter}"
    }
  }

  alert_strategy {
    auto_close = "86400s"

    notification_rate_limit {
      period = "3600s"
    }
  }

  documentation {
    mime_type = "text/markdown"
    content   = each.value.advice
  }

  depends_on = [google_project_service.api]
}
