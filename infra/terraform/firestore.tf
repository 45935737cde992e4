resource "google_firestore_database" "state" {
  name        = var.firestore_database
  location_id = coalesce(var.firestore_location, var.region)
  type        = "FIRESTORE_NATIVE"

  point_in_time_recovery_enablement = "POINT_IN_TIME_RECOVERY_ENABLED"
  delete_protection_state           = var.deletion_protection ? "DELETE_PROTECTION_ENABLED" : "DELETE_PROTECTION_DISABLED"
  deletion_policy                   = var.deletion_protection ? "ABANDON" : "DELETE"

  lifecycle {
    prevent_destroy = true # whatever variables say; see teardown_override.tf.example
  }

  depends_on = [google_project_service.api]
}

locals {
  # The file is Firebase's own format, so that `firebase deploy` would take it as well; a test holds it against the code.
  firestore_overrides = {
    for override in jsondecode(file("${path.module}/../firestore.indexes.json")).fieldOverrides :
    "${override.collectionGroup}.${override.fieldPath}" => override
  }
}

# An empty index_config switches all indexes of the field off; an empty ttl_config makes it the time its document may go.
resource "google_firestore_field" "override" {
  for_each = local.firestore_overrides

  database   = google_firestore_database.state.name
  collection = each.value.collectionGroup
  field      = each.value.fieldPath

  index_config {
    dynamic "indexes" {
      for_each = each.value.indexes

      content {
        order        = try(indexes.value.order, null)
        array_config = try(indexes.value.arrayConfig, null)
        query_scope  = try(indexes.value.queryScope, null)
      }
    }
  }

  dynamic "ttl_config" {
    for_each = try(each.value.ttl, false) ? [true] : []

    content {}
  }
}

resource "google_firestore_backup_schedule" "daily" {
  count = var.firestore_backup_days > 0 ? 1 : 0

  database  = google_firestore_database.state.name
  retention = "${var.firestore_backup_days * 86400}s"

  daily_recurrence {}
}
