output "bucket" {
  description = "The models' bucket: the deployer's --bucket."
  value       = google_storage_bucket.models.name
}

output "images" {
  description = "Where images of functions/predict go."
  value       = "${google_artifact_registry_repository.images.location}-docker.pkg.dev/${var.project}/${google_artifact_registry_repository.images.repository_id}"
}

output "build_account" {
  description = "The account for Cloud Build: gcloud builds submit --service-account."
  value       = google_service_account.build.name
}

output "accounts" {
  description = "The account each function runs as."
  value       = { for name, function in local.functions : name => google_service_account.runtime[function.account].email }
}

output "addresses" {
  description = "Where each function answers, and the audience of tokens for it."
  value       = local.addresses
}

output "deployer_flags" {
  description = "What infra/deploy/deploy.py is called with: terraform output -json deployer_flags."
  value = concat(
    [
      "--project=${var.project}",
      "--region=${var.region}",
      "--bucket=${google_storage_bucket.models.name}",
      "--database=${var.firestore_database}",
    ],
    var.bucket_location == null ? [] : ["--bucket-location=${lower(var.bucket_location)}"],
    [for name in sort(var.mounted_secrets) : "--secret=${name}"],
    [for member in sort(var.api_callers) : "--api-caller=${member}"],
    [for who in sort(var.viewers) : "--viewer=${who}"],
    [for who in sort(var.operators) : "--operator=${who}"],
    [for who in sort(var.approvers) : "--approver=${who}"],
    # It calls with an account of its own, for whomever it lets in.
    var.iap_audience == null ? [] : [
      "--iap-audience=${var.iap_audience}",
      "--api-caller=serviceAccount:service-${data.google_project.this.number}@gcp-sa-iap.iam.gserviceaccount.com",
    ],
    var.ticks_paused ? ["--no-tick-smoke"] : [],
  )
}

output "policy_secrets" {
  description = "What a policy writes to refer to a secret."
  value       = { for name in var.policy_secrets : name => "projects/${var.project}/secrets/${google_secret_manager_secret.secret[name].secret_id}" }
}
