# Secrets without values: a value would be in Terraform's state. Put one in with
#   gcloud secrets versions add NAME --data-file=-
resource "google_secret_manager_secret" "secret" {
  for_each = setunion(var.mounted_secrets, var.policy_secrets)

  secret_id = each.key

  replication {
    auto {}
  }

  depends_on = [google_project_service.api]
}
