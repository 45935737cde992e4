# Images of functions/predict. They are deployed by digest; a tag, once given, stays where it is.
resource "google_artifact_registry_repository" "images" {
  #checkov:skip=CKV_GCP_84:Encrypted with Google's keys; the images hold no data.
  repository_id = "modeldrop"
  location      = var.region
  format        = "DOCKER"
  description   = "Container images of functions/predict"

  docker_config {
    immutable_tags = true
  }

  # No image with a tag is ever removed: a version that is deployed again needs its own.
  cleanup_policies {
    id     = "untagged"
    action = "DELETE"

    condition {
      tag_state  = "UNTAGGED"
      older_than = "2592000s" # 30 days
    }
  }

  depends_on = [google_project_service.api]
}
