resource "google_cloud_scheduler_job" "tick" {
  for_each = local.scheduled

  name        = each.value.account
  description = "Calls ${each.key}"
  region      = var.region
  schedule    = each.value.trigger.cron
  time_zone   = "Etc/UTC"
  paused      = var.ticks_paused

  # Scheduler's own limit, a little above the function's: it should be the function that says it took too long.
  attempt_deadline = "${each.value.timeout_seconds + 15}s"

  # A tick that fails is not repeated: the next one looks again, at what is there by then.
  retry_config {
    retry_count = 0
  }

  http_target {
    uri         = local.addresses[each.key]
    http_method = "POST"
    body        = base64encode("{}")
    headers     = { "Content-Type" = "application/json" }

    oidc_token {
      service_account_email = google_service_account.trigger.email
      audience              = local.addresses[each.key]
    }
  }

  depends_on = [google_project_service.api]
}
