# The trigger of model_uploaded is made by the deployer, with the function that owns it (--trigger-event-filters, --retry):
# a trigger needs its destination to be there. What has to stand before is here: who may receive events, and that Cloud
# Storage may publish them.

data "google_storage_project_service_account" "agent" {
  project = var.project

  depends_on = [google_project_service.api]
}

resource "google_project_iam_member" "trigger_receives_events" {
  project = var.project
  role    = "roles/eventarc.eventReceiver"
  member  = google_service_account.trigger.member
}

resource "google_project_iam_member" "storage_publishes_events" {
  project = var.project
  role    = "roles/pubsub.publisher" # Eventarc makes a topic with a name of its own, later: there is nothing narrower to name
  member  = data.google_storage_project_service_account.agent.member
}
