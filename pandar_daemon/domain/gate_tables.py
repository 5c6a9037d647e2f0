"""Ordinary programs of development, as tables: what is not in any of them is asked about.

A name here means: by itself it touches no gate while its paths lie in the workspace and are no
secrets. What its options make of it stands below, and in `gate_verbs` and `gate_programs`.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from typing import Final


def names(text: str) -> frozenset[str]:
    """Return the names in a text, separated by blanks."""
    return frozenset(text.split())


BUILTINS: Final = names(
    ": true false test [ [[ ]] echo printf pwd cd pushd popd dirs read mapfile readarray wait jobs"
    " fg bg local declare typeset export readonly unset set shift shopt umask exit return break"
    " continue let getopts times ulimit type hash trap eval for select case in source . exec"
    " command builtin"
)
READERS: Final = names(
    "ls cat head tail wc sort uniq cut tr diff cmp comm join paste column fold fmt nl tac rev seq"
    " date cal whoami id groups uname arch nproc getconf locale which whereis file stat du df tree"
    " basename dirname realpath readlink md5sum sha1sum sha224sum sha256sum sha384sum sha512sum"
    " cksum b2sum sum base64 base32 xxd od hexdump strings jq yq grep egrep fgrep rg ag ack find fd"
    " fdfind sleep ps top free uptime lscpu lsblk bc expr factor numfmt gettext tput clear pathchk"
    " history"
    " zcat zgrep bzcat xzcat zstdcat less more bat pygmentize colordiff delta difft cloc tokei scc"
    " diffstat sdiff look tsort expand unexpand iconv uuencode uudecode hostname tty pgrep lsof"
    " env yes logname users who w vmstat iostat pidof nm objdump readelf size ldd sdiff"
    " xmllint tidy csvlook mlr dot plantuml man info help"
)
WRITERS: Final = names(
    "cp mv rm ln install mkdir rmdir touch tee chmod chown chgrp mktemp mkfifo gzip gunzip bzip2"
    " bunzip2 xz unxz zstd unzstd zip unzip tar split csplit patch sed awk gawk mawk nawk dos2unix"
    " unix2dos truncate rename sponge cpio ar ranlib strip"
)
DEVELOPMENT: Final = names(
    # compilers, linkers, builders
    "gcc g++ cc c++ clang clang++ ld as nasm yasm rustc javac kotlinc scalac tsc swiftc ghc ocamlc"
    " ocamlopt fpc nim zig dmd gfortran nvcc protoc flatc thrift esbuild swc rollup webpack vite"
    " parcel turbo nx lerna babel sass postcss tailwindcss make gmake bmake cmake ctest ninja meson"
    " bazel bazelisk buck scons gradle gradlew mvn mvnw ant sbt lein mix rebar3 dune stack cabal"
    " autoconf automake autoreconf libtoolize configure pkg-config xcodebuild msbuild just task"
    " cython rake invoke inv sphinx-build mkdocs hugo jekyll typedoc jsdoc doxygen pdoc pandoc"
    " latexmk pdflatex build"
    # tests, linters, formatters, checkers
    " pytest py.test unittest doctest nose2 tox nox coverage mypy pyright basedpyright pytype ruff"
    " black isort flake8 pylint pyflakes pycodestyle pydocstyle bandit vulture radon codespell"
    " flask uvicorn gunicorn hypercorn daphne django-admin alembic rails celery next nuxt astro ng"
    " storybook eslint prettier biome stylelint jest vitest mocha ava tap cypress playwright karma"
    " tsd knip"
    " oxlint standard xo jshint rubocop rspec minitest phpunit phpstan psalm php-cs-fixer"
    " golangci-lint gofmt goimports gofumpt staticcheck govulncheck gotestsum errcheck rustfmt"
    " clippy-driver shellcheck shfmt bats hadolint yamllint markdownlint markdownlint-cli2 mdl vale"
    " actionlint clang-format clang-tidy cppcheck lcov gcov ktlint detekt"
    " checkstyle spotbugs swiftlint swiftformat commitlint pre-commit pre_commit"
    " lint-imports import-linter semgrep tflint ansible-lint kubeval kubeconform"
    " sqlfluff buf ajv editorconfig-checker taplo typos venv virtualenv compileall"
    " py_compile json.tool tokenize ast dis site sysconfig platform zipfile tarfile this sphinx"
)
HARMLESS: Final = BUILTINS | READERS | WRITERS | DEVELOPMENT

NAMES_ONLY: Final = names(
    "echo printf ls test [ [[ : true false which type command basename dirname realpath readlink"
    " stat mkdir rmdir cd pushd make rmdir find fd fdfind unset"
)
"""Programs that do not open the files their words name."""
PATTERN_FIRST: Final = names("grep egrep fgrep rg ag ack zgrep sed awk gawk mawk nawk jq yq")
"""Programs whose first operand is what they look for, and no file."""

WRITES_ALL: Final = names(
    "mkdir rmdir touch tee truncate gzip gunzip bzip2 bunzip2 xz unxz zstd"
    " unzstd dos2unix unix2dos rename sponge strip shred mkfifo"
)
"""Programs that change every file their operands name."""
WRITES_LAST: Final = names("cp ln install rsync scp cpio")
"""Programs that write to the last operand, or where ``-t`` says."""
DELETES: Final = names("rm unlink mv")
"""Programs after which the operands are gone."""
OUTPUT_OPTIONS: Final = names(
    "-o --output --out --outfile --output-file --out-file --outdir --output-dir --output-document"
    " --target-directory --log-file --junitxml --junit-xml --basetemp"
)
"""Options whose value is written to, whatever the program."""

TOUCHES: Final[Mapping[str, str]] = {
    **dict.fromkeys(
        names(
            "wget aria2c http https httpie xh socat telnet ftp tftp lftp lynx links"
            " w3m dig nslookup host ping ping6 traceroute tracepath mtr whois nmap yt-dlp"
            " youtube-dl axel websocat grpcurl wscat s_client svn hg cvs bzr ab wrk k6 curl"
        ),
        "network_egress.host",
    ),
    **dict.fromkeys(
        names("scp sftp rclone s3cmd gsutil ngrok cloudflared"), "network_egress.upload"
    ),
    **dict.fromkeys(names("ssh mosh autossh rsh"), "network_egress.remote_shell"),
    **dict.fromkeys(
        names("printenv envdir"),
        "secrets_access.environment",
    ),
    **dict.fromkeys(
        names(
            "gpg gpg2 pass op vault bw lpass security secret-tool keyring ssh-add ssh-keygen"
            " ssh-agent ssh-copy-id sops age ansible-vault aws-vault chamber doppler infisical"
            " pandar-secret"
        ),
        "secrets_access.store",
    ),
    **dict.fromkeys(
        names(
            "ansible ansible-playbook ansible-pull ansible-console cdk cdktf sam serverless sls"
            " eksctl kops skaffold tilt nomad consul packer chef-client puppet salt"
            " doctl flyctl fly heroku vercel netlify wrangler firebase railway render amplify"
            " copilot oc argocd flux istioctl velero kubeadm minikube kind k3d linode-cli hcloud"
            " scw openstack ibmcloud oci cf eb"
        ),
        "infra_change.apply",
    ),
    **dict.fromkeys(
        names("docker-compose podman-compose nerdctl lxc buildah vagrant crictl ctr"),
        "infra_change.container",
    ),
    **dict.fromkeys(
        names(
            "service init initctl crontab at batch reboot shutdown halt poweroff mount umount"
            " iptables ip6tables nft ufw sysctl modprobe insmod rmmod useradd userdel usermod"
            " groupadd passwd visudo launchctl loginctl hostnamectl timedatectl swapon swapoff"
        ),
        "infra_change.system",
    ),
    **dict.fromkeys(
        names("skopeo crane oras"),
        "package_publish.image",
    ),
    **dict.fromkeys(
        names("semantic-release goreleaser release-it np"),
        "package_publish.release",
    ),
    **dict.fromkeys(names("ghp-import gh-pages git-send-email"), "git_push_protected.push"),
    **dict.fromkeys(
        names(
            "apt apt-get aptitude dpkg rpm dnf yum zypper apk pacman brew snap flatpak port nix-env"
            " choco winget scoop update-alternatives"
        ),
        "outside_workspace.packages network_egress.install",
    ),
    **dict.fromkeys(
        names("wipefs fdisk sfdisk gdisk parted mkswap blkdiscard hdparm badblocks cryptsetup"),
        "destructive_fs.disk",
    ),
    **dict.fromkeys(names("shred srm wipe truncate"), "destructive_fs.overwrite"),
    "su": "unclassified.elevation",
    "runuser": "unclassified.elevation",
    "alias": "unclassified.settings",
    "enable": "unclassified.settings",
}
"""What a program touches however it is called; several rules are separated by blanks."""

RUNS_MORE: Final[Mapping[str, tuple[str, ...]]] = {
    "tar": (
        *("-I", "--use-compress-program", "--to-command", "--checkpoint-action", "-F"),
        *("--info-script", "--new-volume-script", "--rsh-command", "--rmt-command"),
    ),
    "zip": ("-T", "-TT", "--unzip-command"),
    "sort": ("--compress-program",),
    "split": ("--filter",),
    "rg": ("--pre", "--hostname-bin"),
    "less": ("+", "-k", "--lesskey"),
    "more": ("+",),
    "man": ("-P", "--pager", "-H", "--html"),
    "make": ("--eval", "-E", "SHELL=", "MAKEFLAGS="),
    "gmake": ("--eval", "-E", "SHELL=", "MAKEFLAGS="),
    "cmake": ("-E", "-P"),
    "rails": ("runner", "dbconsole", "console", "destroy"),
    "flask": ("shell", "--app=/", "-A=/"),
    "ghc": ("-e", "-F", "-pgm"),
    "pre-commit": ("-c", "--config"),
    "gcc": ("-wrapper", "-fplugin", "-specs", "-B"),
    "g++": ("-wrapper", "-fplugin", "-specs", "-B"),
    "clang": ("-fplugin", "-Xclang", "-B"),
    "clang++": ("-fplugin", "-Xclang", "-B"),
    "rustc": ("-Clink", "link-arg", "linker=", "--codegen=link"),
    "go": ("-exec", "--exec", "-toolexec", "--toolexec", "-vettool", "--vettool"),
    "cargo": ("--config",),
    "mypy": ("--python-executable",),
    **dict.fromkeys(("npm", "pnpm", "yarn"), ("--script-shell", "--node-options")),
    "hash": ("-p",),
    "jq": ("-L", "--library-path"),
    "bat": ("--pager",),
    "install": ("--strip-program",),
    "sdiff": ("-o",),
    "xmllint": ("--shell",),
    "pandoc": ("-F", "--filter", "-L", "--lua-filter"),
    "latexmk": ("-e", "-shell-escape", "--shell-escape"),
    "pdflatex": ("-shell-escape", "--shell-escape", "-write18"),
    "cpio": ("--rsh-command",),
    "ld": ("-plugin",),
    "protoc": ("--plugin",),
    "env": ("-S",),
    "find": ("-fprint", "-fprintf", "-fls", "-fprint0"),
    "info": ("-o", "--output"),
}
"""Beginnings of arguments with which a program runs another one: nobody can tell which."""

SETTINGS: Final = names(
    "PATH LD_PRELOAD LD_LIBRARY_PATH LD_AUDIT DYLD_INSERT_LIBRARIES DYLD_LIBRARY_PATH BASH_ENV ENV"
    " SHELL IFS PS4 PROMPT_COMMAND SHELLOPTS BASHOPTS CDPATH GLOBIGNORE HOME EDITOR VISUAL PAGER"
    " MANPAGER LESSOPEN LESSCLOSE BROWSER PYTHONSTARTUP PYTHONHOME PYTHONINSPECT PYTHONBREAKPOINT"
    " PERL5OPT PERL5LIB PERL5DB RUBYOPT RUBYLIB NODE_OPTIONS NODE_PATH JAVA_TOOL_OPTIONS"
    " _JAVA_OPTIONS JDK_JAVA_OPTIONS RUSTC_WRAPPER RUSTC_WORKSPACE_WRAPPER RUSTC CARGO"
    " MAKEFLAGS TAR_OPTIONS GREP_OPTIONS SSH_ASKPASS SUDO_ASKPASS DOCKER_HOST KUBECONFIG"
    " http_proxy https_proxy all_proxy HTTP_PROXY HTTPS_PROXY ALL_PROXY"
)
"""Variables that change which program runs, or what another one runs."""
COMPILERS: Final = names("CC CXX CPP LD AR AS FC RM MAKE LINK RUSTC_LINKER")
COMPILER: Final = re.compile(
    r"(?:s?ccache )?(?!rm\b|sh\b|bash\b|sudo\b|env\b|eval\b)[\w.+-]+(?: -[\w+=.,-]+)*"
)
"""Variables that name programs, and what ordinary values of them are."""
SETTING_FAMILIES: Final = ("GIT_", "BASH_FUNC_", "npm_config_", "NPM_CONFIG_", "PIP_", "UV_")
"""How the names of others of that kind begin."""
HARMLESS_SETTINGS: Final = names(
    "GIT_AUTHOR_NAME GIT_AUTHOR_EMAIL GIT_AUTHOR_DATE GIT_COMMITTER_NAME GIT_COMMITTER_EMAIL"
    " GIT_COMMITTER_DATE GIT_TERMINAL_PROMPT GIT_OPTIONAL_LOCKS PIP_DISABLE_PIP_VERSION_CHECK"
    " PIP_NO_INPUT UV_NO_PROGRESS UV_OFFLINE GIT_MERGE_AUTOEDIT"
)

TASK_WORDS: Final[Mapping[str, str]] = {
    "drop": "destructive_fs.task",
    "nuke": "destructive_fs.task",
    "wipe": "destructive_fs.task",
    "deploy": "infra_change.deploy",
    "destroy": "infra_change.destroy",
    "teardown": "infra_change.destroy",
    "publish": "package_publish.publish",
    "release": "package_publish.release",
    "push": "git_push_protected.task",
    "upload": "network_egress.upload",
}
"""Words in the name of a project's own task that say what it does."""
TASK_RUNNERS: Final = names(
    "make gmake just task rake invoke inv gradle gradlew mvn mvnw ant mage lerna nx turbo tox nox"
    " sbt lein mix rebar3 dune stack cabal bazel bazelisk buck hugo mkdocs jekyll rush ninja rails"
)
"""Programs whose operands are names of a project's own tasks."""
INSTALLERS: Final = names("make gmake ninja just")
"""Task runners whose task ``install`` puts files where the system's own are."""
