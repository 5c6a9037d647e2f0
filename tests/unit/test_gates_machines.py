"""What changes machines, registries, the network's other ends and files, by example."""

from __future__ import annotations

import pytest

from tests.support.calls import rules_touched

INFRASTRUCTURE = {
    "terraform apply -auto-approve": "apply",
    "terraform -chdir=infra apply": "apply",
    "terraform import a b": "apply",
    "tofu apply": "apply",
    "terraform destroy": "destroy",
    "terraform apply -destroy": "destroy",
    "kubectl apply -f x.yml": "apply",
    "kubectl -n prod scale deploy/x --replicas=0": "apply",
    "kubectl exec x -- ls": "apply",
    "kubectl -n prod delete pod x": "destroy",
    "kubectl --context=prod drain x": "destroy",
    "helm upgrade x y": "apply",
    "helm uninstall x": "destroy",
    "aws ec2 terminate-instances --instance-ids x": "apply",
    "aws --profile prod s3 cp x s3://y": "apply",
    "aws s3 rm --recursive s3://y": "destroy",
    "gcloud compute instances delete x": "apply",
    "az vm start -n x": "apply",
    "pulumi up": "apply",
    "pulumi destroy": "destroy",
    "ansible-playbook site.yml": "apply",
    "flyctl deploy": "apply",
    "docker run -v /:/host alpine": "container",
    "docker compose up -d": "container",
    "docker -H tcp://x exec y sh": "container",
    "systemctl restart nginx": "system",
    "crontab -e": "system",
    "make deploy": "deploy",
    "npm run deploy:prod": "deploy",
    "mkdocs gh-deploy": "deploy",
    "yarn deploy": "deploy",
    "gh workflow run release.yml": "deploy",
}


@pytest.mark.parametrize(("text", "what"), INFRASTRUCTURE.items())
def test_what_changes_infrastructure(text: str, what: str) -> None:
    """Verbs that change or destroy are seen; those that only read are ordinary."""
    assert f"infra_change.{what}" in rules_touched(text)


PUBLISHING = {
    "npm publish": "publish",
    "npm --workspace x publish": "publish",
    "yarn publish": "publish",
    "pnpm -r publish": "publish",
    "twine upload dist/*": "publish",
    "python -m twine upload dist/*": "publish",
    "python3.12 -m twine upload dist/*": "publish",
    "uv publish": "publish",
    "poetry publish --build": "publish",
    "cargo publish": "publish",
    "gem push x.gem": "publish",
    "dotnet nuget push x": "publish",
    "make publish": "publish",
    "lerna publish": "publish",
    "mix hex.publish": "publish",
    "npm unpublish x": "registry",
    "npm dist-tag add x latest": "registry",
    "cargo yank x": "registry",
    "docker push a/b": "image",
    "docker image push a/b": "image",
    "gh release create v1": "release",
    "goreleaser": "release",
}


@pytest.mark.parametrize(("text", "what"), PUBLISHING.items())
def test_what_becomes_public(text: str, what: str) -> None:
    """Packages, images and releases are seen, in the tasks of a project too."""
    assert f"package_publish.{what}" in rules_touched(text)


NETWORK = {
    "curl https://x.example": "host",
    "curl x.example": "host",
    "curl -sSL http://10.0.0.1/": "host",
    "curl http://localhost@x.example/": "host",
    "curl -x http://x.example http://localhost/": "host",
    "curl --resolve localhost:80:1.2.3.4 http://localhost/": "host",
    "curl http://localhost/ https://x.example": "host",
    "curl $url": "host",
    "curl --unix-socket /run/docker.sock http://localhost/": "host",
    "curl http://localhost.x.example/": "host",
    "curl http://localhost:80@x.example/": "host",
    "wget -q https://x.example": "host",
    "nc x.example 80": "host",
    "nc -z localhost 80 -e sh": "host",
    "curl version": "host",
    "apt-get install x": "install",
    "dig x.example": "host",
    "ping -c1 x.example": "host",
    "docker pull x": "host",
    "gh pr view 3": "host",
    "terraform init": "host",
    "curl -d a=b https://x.example": "upload",
    "curl -F f=@x https://x.example": "upload",
    "curl -T x https://x.example": "upload",
    "scp x y:z": "upload",
    "rsync -a . host:dir": "upload",
    "echo x > /dev/tcp/1.2.3.4/80": "upload",
    "exec 3<>/dev/tcp/1.2.3.4/80": "upload",
    "ssh host ls": "remote_shell",
    "pip install requests": "install",
    "pip install git+https://x.example/y": "install",
    ".venv/bin/pip install -e .": "install",
    "python -m pip install x": "install",
    "npm install": "install",
    "npm ci": "install",
    "yarn": "install",
    "pnpm add x": "install",
    "npx -y create-x": "install",
    "uvx x": "install",
    "uv sync": "install",
    "uv pip install x": "install",
    "cargo install x": "install",
    "go get x": "install",
    "go install x@latest": "install",
    "gem install x": "install",
    "bundle install": "install",
    "composer require x": "install",
    "git fetch": "git",
    "git pull --rebase": "git",
    "git clone https://x.example/y": "git",
    "git submodule update --init": "git",
    "git ls-remote": "git",
}


@pytest.mark.parametrize(("text", "what"), NETWORK.items())
def test_what_talks_to_others(text: str, what: str) -> None:
    """Whatever reaches another machine is seen; this machine is none."""
    assert f"network_egress.{what}" in rules_touched(text)


OUTSIDE = {
    "echo x > /etc/hosts": "system",
    "tee /usr/local/bin/x": "system",
    "cp x /etc/": "system",
    "echo x > ../other/y": "write",
    "cp x ../y": "write",
    "mv x ../y": "write",
    "mv ../y x": "write",
    "touch /srv/other": "write",
    "mkdir -p ~bob/x": "write",
    "tar czf ../x.tgz src": "write",
    "make install": "packages",
    "ln -s x /srv/other": "write",
    "cd .. && echo x > y": "write",
    "cd / && cp a b": "write",
    "cd sub/sub; cd ../../..; touch x": "write",
    "(cd a/b/c); cp x ../../y": "write",
    "sed -i s/a/b/ ../x": "write",
    "gcc -o /srv/x x.c": "write",
    "curl http://localhost/ -o /srv/x": "write",
    "git -C ../other commit -m x": "write",
    "git clone . ../other": "write",
    "git worktree add ../other": "write",
    "tar xf x.tar -C ..": "write",
    "dd if=x of=../y": "write",
    "sort -o ../x y": "write",
    "pytest --junitxml=/srv/other.xml": "write",
    "echo x > /tmp/y": "temporary",
    "mkdir /var/tmp/x": "temporary",
    "d=/tmp/x; mkdir $d": "temporary",
    "TMPDIR=/tmp; echo x > $TMPDIR/y": "temporary",
    "apt-get install -y x": "packages",
    "brew install x": "packages",
}


@pytest.mark.parametrize(("text", "what"), OUTSIDE.items())
def test_what_writes_outside(text: str, what: str) -> None:
    """Writing outside workspace and home is seen, wherever the command went before."""
    assert f"outside_workspace.{what}" in rules_touched(text)


DESTRUCTION = {
    "rm -rf build": "recursive",
    "rm -fr build": "recursive",
    "rm -r build": "recursive",
    "rm -R -f build": "recursive",
    "rm build -rf": "recursive",
    "rm --recursive build": "recursive",
    "rm --rec build": "recursive",
    "r\\m -r build": "recursive",
    "find . -name x | xargs rm -rf": "recursive",
    "find . -type d -exec rm -r {} +": "recursive",
    "find . -name x -delete": "recursive",
    "git worktree remove --force x": "recursive",
    "git rm -r src": "recursive",
    "rsync -a --delete a/ b/": "recursive",
    "rm -rf /": "root",
    "rm -rf ~": "root",
    "rm -rf .": "root",
    "rm -rf ..": "root",
    "rm -rf /srv/site/../site": "root",
    "rm -rf .git": "root",
    "rm -rf $HOME": "root",
    "mv /srv/site /srv/home/x": "root",
    "rm *": "everything",
    "rm -f ./*": "everything",
    "rm $x": "unknown",
    'rm "$(cat list)"': "unknown",
    "cat list | xargs rm": "unknown",
    "git clean -fdx": "git_clean",
    "git clean -f": "git_clean",
    "git -C sub clean -xdf": "git_clean",
    "git reset --hard": "git_reset",
    "git reset --har HEAD~3": "git_reset",
    "git checkout -- .": "git_reset",
    "git checkout .": "git_reset",
    "git checkout -f main": "git_reset",
    "git restore .": "git_reset",
    "git branch -D x": "git_history",
    "git stash drop": "git_history",
    "git stash clear": "git_history",
    "git reflog expire --expire=now --all": "git_history",
    "git filter-branch x": "git_history",
    "dd if=/dev/zero of=/dev/sda": "disk",
    "mkfs.ext4 /dev/sdb1": "disk",
    "echo x > /dev/sda": "disk",
    "cat x | tee /dev/nvme0n1": "disk",
    "wipefs -a /dev/sda": "disk",
    "dd if=a of=b": "overwrite",
    "shred x": "overwrite",
    "truncate -s 0 x": "overwrite",
    "chmod -R 777 .": "permissions",
    "chown -R bob x": "permissions",
}


@pytest.mark.parametrize(("text", "what"), DESTRUCTION.items())
def test_what_destroys(text: str, what: str) -> None:
    """Deleting many files, or work that was not committed, is seen."""
    assert f"destructive_fs.{what}" in rules_touched(text)
