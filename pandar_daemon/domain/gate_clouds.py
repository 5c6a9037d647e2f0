"""Programs that change machines, containers and clusters, as tables of verbs.

Verbs that only read touch nothing; whatever is not named changes something.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Final

from pandar_daemon.domain.gate_verb import Verbs, verbs

_STORE: Final = "secrets_access.store"
_HOST: Final = "network_egress.host"
_APPLY: Final = "infra_change.apply"
_CONTAINER: Final = "infra_change.container"
_PUBLISH: Final = "package_publish.publish"

_DOCKER: Final = verbs(
    "ps, images, logs, inspect, version, info, top, stats, port, history, diff, events, image ls,"
    " image inspect, image history, container ls, container logs, container inspect, volume ls,"
    " volume inspect, network ls, network inspect, compose ps, compose logs, compose config,"
    " compose images, compose version, compose ls, context ls, context show, system df,"
    " system info, buildx ls, buildx inspect",
    {
        _HOST: "pull, build, buildx build, buildx bake, image pull, image build, compose build,"
        " compose pull, search, builder build, manifest inspect",
        "package_publish.image": "push, image push, compose push, manifest push",
        _STORE: "login, logout, secret",
    },
    valued="-H --host --context -c -l --log-level --config -f --file -p --project-name --profile"
    " --env-file",
    flags="-D --debug",
    other=_CONTAINER,
)
_TERRAFORM: Final = verbs(
    "plan, validate, fmt, show, output, graph, version, providers, state list, state show,"
    " workspace list, workspace show, console, metadata, get -help, test, run-all plan, modules",
    {
        _HOST: "init, get, providers mirror, providers lock, hclfmt",
        "infra_change.destroy": "destroy, apply -destroy, run-all destroy, state rm, force-unlock",
        _STORE: "login, logout, state pull",
    },
    valued="-chdir",
    other=_APPLY,
)
_KUBECTL: Final = verbs(
    "get, describe, logs, log, top, explain, version, api-resources, api-versions, cluster-info,"
    " config view, config get-contexts, config current-context, config get-clusters, diff, events,"
    " auth can-i, auth whoami, rollout status, rollout history, wait, kustomize, options,"
    " completion, plugin list, cluster-info dump",
    {"infra_change.destroy": "delete, drain", _STORE: "get secret, get secrets"},
    valued="-n --namespace --context --cluster --kubeconfig -s --server --user --as -o --output"
    " --token -l --selector --request-timeout",
    flags="-A --all-namespaces -w",
    other=_APPLY,
)
_HELM: Final = verbs(
    "list, ls, status, get, history, show, inspect, template, lint, search, version, env, verify,"
    " dependency list, dep list, repo list, plugin list, completion, create, package, test-lint",
    {
        _HOST: "repo add, repo update, pull, fetch, dependency update, dep update,"
        " dependency build, dep build, plugin install",
        _PUBLISH: "push",
        "infra_change.destroy": "uninstall, delete",
        _STORE: "registry login, registry logout",
    },
    valued="-n --namespace --kube-context --kubeconfig",
    flags="--debug",
    other=_APPLY,
)
_SYSTEMCTL: Final = verbs(
    "status, show, list-units, list-unit-files, is-active, is-enabled, is-failed, cat,"
    " list-timers, list-dependencies, get-default",
    {},
    flags="--user --no-pager -l -a --all",
    valued="-n -p -t --type",
    other="infra_change.system",
)
_CLOUD_FLAGS: Final = "--no-cli-pager --debug --no-verify-ssl --no-paginate"
_AWS: Final = verbs(
    "s3 ls, sts get-caller-identity, help, configure list, configure list-profiles, logs tail,"
    " logs filter-log-events, cloudformation validate-template, ec2 wait",
    {
        _STORE: "secretsmanager get-secret-value, ssm get-parameter, ssm get-parameters, configure,"
        " ssm get-parameters-by-path, sts get-session-token, sts assume-role, sso, kms decrypt,"
        " ecr get-login-password, configure get, configure export-credentials, login,"
        " iam create-access-key, ecr get-authorization-token, codeartifact get-authorization-token",
        "infra_change.destroy": "s3 rb, s3 rm",
    },
    valued="--profile --region --output --endpoint-url --query --color --ca-bundle",
    flags=_CLOUD_FLAGS,
    other=_APPLY,
)
_GCLOUD: Final = verbs(
    "version, info, help, config list, config get, config get-value, auth list, projects list",
    {
        _STORE: "auth, secrets, auth print-access-token, auth application-default,"
        " secrets versions access, secrets list, kms"
    },
    valued="--project --account --configuration --format --region --zone",
    other=_APPLY,
)
_AZ: Final = verbs(
    "version, account show, account list, help",
    {_STORE: "keyvault, login, logout, account get-access-token, ad, acr login"},
    valued="--subscription -o --output --query -g --resource-group",
    other=_APPLY,
)
_PULUMI: Final = verbs(
    "preview, version, about, stack ls, whoami, logs, console, plugin ls, stack output, stack",
    {_STORE: "login, logout, config, env", "infra_change.destroy": "destroy, down, stack rm"},
    valued="-C --cwd -s --stack",
    other=_APPLY,
)

CLOUD_VERBS: Final[Mapping[str, Verbs]] = {
    **dict.fromkeys(("docker", "podman"), _DOCKER),
    **dict.fromkeys(("terraform", "tofu", "terragrunt"), _TERRAFORM),
    **dict.fromkeys(("kubectl", "k", "microk8s.kubectl"), _KUBECTL),
    "helm": _HELM,
    "systemctl": _SYSTEMCTL,
    "aws": _AWS,
    "gcloud": _GCLOUD,
    "az": _AZ,
    "pulumi": _PULUMI,
}
"""By the last part of the program's name."""

CLOUDS: Final = frozenset({"aws", "gcloud", "az"})
"""Programs whose verb is their last operand, behind the names of services."""
CLOUD_READS: Final = ("describe", "list", "ls", "head", "show", "get", "search", "batch-get")
"""How the verbs of clouds begin that only read."""
