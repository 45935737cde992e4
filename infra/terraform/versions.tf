# Attributes are checked against schema/google.json, made from provider 6.50 (see schema/distill.py).
terraform {
  required_version = ">= 1.9"

  required_providers {
    google = {
      source  = "hashicorp/google"
      version = "~> 6.50"
    }
  }

  # The state's bucket is named at `terraform init -backend-config=bucket=…`: one state per environment, never on a laptop.
  backend "gcs" {
    prefix = "modeldrop"
  }
}

provider "google" {
  project = var.project
  region  = var.region

  # Budgets belong to a billing account: without these, calls with a person's credentials have no project to count for.
  billing_project       = var.project
  user_project_override = true

  default_labels = {
    app         = "modeldrop"
    environment = var.environment
  }
}

data "google_project" "this" {
  project_id = var.project
}
