"""Package managers and services of git, as tables of verbs; those of clouds are beside it."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Final

from pandar_daemon.domain.gate_clouds import CLOUD_VERBS
from pandar_daemon.domain.gate_tables import names
from pandar_daemon.domain.gate_verb import Verbs, verbs

_INSTALL: Final = "network_egress.install"
_PUBLISH: Final = "package_publish.publish"
_REGISTRY: Final = "package_publish.registry"
_STORE: Final = "secrets_access.store"
_HOST: Final = "network_egress.host"
_APPLY: Final = "infra_change.apply"
_CONTAINER: Final = "infra_change.container"

_NPM: Final = verbs(
    "test, t, tst, start, run, run-script, rum, ls, list, ll, la, version, pack, root, prefix, bin,"
    " help, explain, why, fund, rebuild, prune, dedupe, query, config get, config list, get,"
    " config ls, pkg get, shrinkwrap, find-dupes, doctor, completion, help-search, stop, restart",
    {
        _INSTALL: "install, i, in, ins, add, ci, clean-install, install-test, it, cit, update, up,"
        " upgrade, install-ci-test, link, ln, audit, outdated, view, info, show, search, create,"
        " init, init x, exec, x, dlx, import, fetch, remove, rm, un, uninstall, unlink, dedupe -c",
        _PUBLISH: "publish, stage",
        _REGISTRY: "unpublish, deprecate, undeprecate, dist-tag, dist-tags, owner, author, access,"
        " team, org, hook, star, unstar, trust",
        _STORE: "login, adduser, add-user, logout, token, whoami, profile, config list --json",
    },
    valued="--prefix -C --dir --workspace -w --filter --loglevel --registry --cwd -F",
    flags="-s --silent -g --global --workspaces -ws -r --recursive -y --if-present --json",
)
_GH: Final = verbs(
    "version, help, completion, config get, config list, alias list, extension list, status",
    {
        _HOST: "pr view, pr list, pr diff, pr checks, pr status, pr checkout, issue view,"
        " issue list, issue status, repo view, repo list, repo clone, run view, run list,"
        " run watch, run download, release view, release list, release download, workflow view,"
        " workflow list, search, browse, gist view, gist list, label list, auth status,"
        " cache list, ruleset list, org list, project list, project view, variable list,"
        " repo sync, attestation verify",
        "git_push_protected.merge": "pr merge",
        "git_push_protected.pull_request": "pr create, pr edit, pr comment, pr close, pr reopen,"
        " pr ready, pr review, issue create, issue edit, issue comment, issue close, issue reopen,"
        " label create, label edit, label delete, gist create, gist edit, issue transfer",
        "git_push_protected.delete": "repo delete, issue delete, gist delete, release delete,"
        " repo archive",
        "package_publish.release": "release create, release edit, release upload",
        "infra_change.deploy": "workflow run, workflow enable, workflow disable, run rerun,"
        " run cancel, run delete, codespace",
        _STORE: "auth, auth token, auth login, auth logout, auth refresh, auth setup-git, secret,"
        " ssh-key, gpg-key",
    },
    valued="-R --repo --hostname",
    other="git_push_protected.api",
)
_GO: Final = verbs(
    "build, test, vet, fmt, version, env, list, doc, tool, clean, fix, generate, mod tidy,"
    " mod vendor, mod verify, mod graph, mod why, mod init, mod edit, work, help, run, telemetry",
    {_INSTALL: "get, install, mod download"},
    valued="-C",
)
_CARGO: Final = verbs(
    "build, b, check, c, test, t, run, r, bench, clippy, fmt, doc, d, clean, tree, metadata,"
    " version, new, init, fix, rustc, rustdoc, verify-project, locate-project, pkgid, nextest,"
    " expand, llvm-cov, miri, remove, package, help, generate-lockfile, deny, machete, hack, sort",
    {
        _INSTALL: "add, install, update, fetch, vendor, search, info, binstall, audit, outdated",
        _PUBLISH: "publish, release",
        _REGISTRY: "yank, owner",
        _STORE: "login, logout",
    },
    valued="--manifest-path -C --color -Z",
    flags="--locked --offline --frozen",
)
_PIP: Final = verbs(
    "list, freeze, show, check, cache, config list, config get, debug, help, hash, inspect,"
    " uninstall, completion",
    {_INSTALL: "install, download, wheel, index, search, lock, sync"},
    valued="--python --log --proxy",
    flags="--no-input --disable-pip-version-check --require-virtualenv",
)
_UV: Final = verbs(
    "version, venv, tree, export, init, format, python list, python find, python dir, cache dir,"
    " pip list, pip freeze, pip show, pip check, pip tree, tool list, help, cache prune, build,"
    " self version, pip uninstall",
    {
        _INSTALL: "add, remove, sync, lock, pip install, pip sync, pip compile, tool install,"
        " tool upgrade, python install, self update, tool update-shell",
        _PUBLISH: "publish",
        _STORE: "auth",
    },
    valued="--directory --project --python -p --color --config-file",
    flags="--offline --frozen --locked --no-progress",
)
_POETRY: Final = verbs(
    "check, show, version, build, env, shell, config --list, about, list, help, init, new, search",
    {
        _INSTALL: "install, add, update, lock, remove, self, sync",
        _PUBLISH: "publish",
        _STORE: "config",
    },
    valued="-C --directory -P --project",
    flags="-n --no-interaction",
)
_GEM: Final = verbs(
    "list, env, environment, help, which, contents, specification, build, check, dependency, info,"
    " version, query, pristine, cleanup",
    {
        _INSTALL: "install, update, fetch, search, outdated, uninstall",
        _PUBLISH: "push",
        _REGISTRY: "yank, owner",
        _STORE: "signin, signout",
    },
)
_BUNDLE: Final = verbs(
    "check, list, show, info, config list, platform, clean, version, help, doctor, outline, open",
    {_INSTALL: "install, update, add, lock, outdated, remove, cache, package"},
)
_COMPOSER: Final = verbs(
    "validate, show, dump-autoload, dumpautoload, check-platform-reqs, licenses, run-script, run,"
    " status, why, depends, test, diagnose, help, list, about, fund, suggests",
    {_INSTALL: "install, update, require, remove, create-project, global, outdated, audit, init"},
    valued="-d --working-dir",
    flags="-n --no-interaction",
)
_DOTNET: Final = verbs(
    "build, test, run, clean, format, new, sln, list, watch, msbuild, pack, vstest, help",
    {
        _INSTALL: "restore, add, tool, workload, remove",
        _PUBLISH: "nuget push",
        _REGISTRY: "nuget delete",
        "infra_change.deploy": "publish",
    },
)
_TWINE: Final = verbs("check", {_PUBLISH: "upload", _REGISTRY: "register"})
_SIMPLE_INSTALL: Final = verbs(
    "list, info, show, env list, search, config --show, check, graph, version, --version",
    {
        _INSTALL: "install, update, upgrade, create, sync, lock, add, remove, env create",
        _PUBLISH: "publish, upload, trunk push",
    },
)

VERBS: Final[Mapping[str, Verbs]] = {
    **CLOUD_VERBS,
    **dict.fromkeys(("npm", "pnpm", "yarn", "bun"), _NPM),
    **dict.fromkeys(("gh", "glab", "hub", "tea"), _GH),
    **dict.fromkeys(("pip", "pip3", "pip2"), _PIP),
    **dict.fromkeys(
        names(
            "conda mamba micromamba pipenv pdm rye asdf nvm pipx rustup mise volta pod hatch"
            " luarocks cpan cpanm opam"
        ),
        _SIMPLE_INSTALL,
    ),
    "go": _GO,
    "cargo": _CARGO,
    "uv": _UV,
    "poetry": _POETRY,
    "gem": _GEM,
    "bundle": _BUNDLE,
    "composer": _COMPOSER,
    "dotnet": _DOTNET,
    "twine": _TWINE,
}
"""By the last part of the program's name."""

SCRIPT_RUNNERS: Final = frozenset({"npm", "pnpm", "yarn", "bun", "composer"})
"""Programs that run the scripts of a project by name, with ``run`` or without."""
