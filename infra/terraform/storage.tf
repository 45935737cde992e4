locals {
  # Objects below a folder, by name.
  folders = toset(concat(["models/", "policies/"], [for permission in local.by_kind["folder"] : "${permission.target}/"]))
  below = {
    for folder in local.folders : folder =>
    "resource.name.startsWith(\"projects/_/buckets/${local.bucket_name}/objects/${folder}\")"
  }
}

# Packages, policies, decision records, verified copies.
resource "google_storage_bucket" "models" {
  #checkov:skip=CKV_GCP_62:Who wrote what is in the audit log and in modeldrop's own history. A bucket of access logs would be a second one to look after.
  name     = local.bucket_name
  location = coalesce(var.bucket_location, var.region)

  uniform_bucket_level_access = true
  public_access_prevention    = "enforced"
  force_destroy               = !var.deletion_protection

  versioning {
    enabled = true
  }

  # A replaced or deleted object can be brought back for a while. Live objects are never removed: a version that served
  # once may be rolled back to.
  lifecycle_rule {
    action {
      type = "Delete"
    }
    condition {
      days_since_noncurrent_time = var.noncurrent_days
      with_state                 = "ARCHIVED"
    }
  }

  # Parts of uploads that nobody finished.
  lifecycle_rule {
    action {
      type = "AbortIncompleteMultipartUpload"
    }
    condition {
      age = 2
    }
  }

  lifecycle {
    prevent_destroy = true # whatever variables say; see teardown_override.tf.example
  }

  depends_on = [google_project_service.api]
}

# Uploaders reach what is theirs, and not verified/: who may write there can change what is deployed.
resource "google_storage_bucket_iam_member" "uploader" {
  for_each = var.uploaders

  bucket = google_storage_bucket.models.name
  role   = "roles/storage.objectUser"
  member = each.value

  condition {
    title       = "packages-and-policies"
    description = "Below models/ and policies/ alone"
    expression  = join(" || ", [local.below["models/"], local.below["policies/"]])
  }
}

# Listing is a right to the whole bucket. Without it what is not there yet is not "not found" but "forbidden", and
# `gcloud storage cp`, which looks before it writes, gives up. It shows names, no contents.
resource "google_storage_bucket_iam_member" "uploader_lists" {
  for_each = var.uploaders

  bucket = google_storage_bucket.models.name
  role   = google_project_iam_custom_role.own["modeldropObjectLister"].name
  member = each.value
}
