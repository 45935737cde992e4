# The functions' code is not deployed by Terraform. It changes many times a day, a bad revision is taken back within
# seconds by the deployer that has just smoke-tested it, and an apply must never put old code back because a zip file has
# another name. So infra/deploy deploys the code, with its Eventarc trigger and its invokers, which live and die with the
# function; Terraform holds what outlives every revision: accounts, grants, topics, subscriptions, Scheduler jobs, secrets,
# alerts. Both read one table, infra/functions.yaml. ADR 10 has the reasons.
#
# What Terraform needs of a function that is not there yet is its address, and that is known beforehand.

locals {
  functions_table = yamldecode(file("${path.module}/../functions.yaml"))
  functions       = { for function in local.functions_table.functions : function.name => function }

  deployed    = { for name, function in local.functions : name => function if function.trigger.type != "vertex" }
  scheduled   = { for name, function in local.functions : name => function if function.trigger.type == "schedule" }
  pushed      = { for name, function in local.functions : name => function if function.trigger.type == "pubsub" }
  by_dead     = { for name, function in local.pushed : function.trigger.dead_letter_topic => name }
  own_topics  = toset(flatten([for function in local.pushed : [function.trigger.topic, function.trigger.dead_letter_topic]]))
  addresses   = { for name in keys(local.deployed) : name => "https://${var.region}-${var.project}.cloudfunctions.net/${name}" }
  run_service = { for name in keys(local.deployed) : name => replace(name, "_", "-") }

  known_secrets = toset(flatten([for function in local.functions : [for secret in function.secrets : secret.name]]))

  bucket_name = coalesce(var.bucket, "${var.project}-modeldrop")
}
