# A name that leaves the variables would take the secret along, with all its versions: Terraform refuses. To give one up:
#   terraform state rm 'google_secret_manager_secret.secret["NAME"]'    # and gcloud secrets delete NAME, if it is meant
#
# Secrets without values: a value would be in Terraform's state. Put one in with
#   gcloud secrets versions add NAME --data-file=-
resource "google_secret_manager_secret" "secret" {
  for_each = setunion(var.mounted_secrets, var.policy_secrets)

  secret_id = each.key

  replication {
    auto {}
  }

  lifecycle {
    prevent_destroy = true # its versions would be gone with it; see teardown_override.tf.example
  }

  depends_on = [google_project_service.api]
}
