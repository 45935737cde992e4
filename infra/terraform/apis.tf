# Two must be on before Terraform can say so, once per project:
#   gcloud services enable cloudresourcemanager.googleapis.com serviceusage.googleapis.com
locals {
  apis = toset([
    "aiplatform.googleapis.com",
    "artifactregistry.googleapis.com",
    "cloudbuild.googleapis.com",
    "cloudfunctions.googleapis.com",
    "cloudresourcemanager.googleapis.com",
    "cloudscheduler.googleapis.com",
    "eventarc.googleapis.com",
    "firestore.googleapis.com",
    "iam.googleapis.com",
    "iamcredentials.googleapis.com",
    "logging.googleapis.com",
    "monitoring.googleapis.com",
    "pubsub.googleapis.com",
    "run.googleapis.com",
    "secretmanager.googleapis.com",
    "serviceusage.googleapis.com",
    "storage.googleapis.com",
  ])
}

resource "google_project_service" "api" {
  for_each = var.billing_account == null ? local.apis : setunion(local.apis, ["billingbudgets.googleapis.com"])

  service            = each.key
  disable_on_destroy = false # somebody else in the project may use it
}
