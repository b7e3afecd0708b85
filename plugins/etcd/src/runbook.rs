//! How a cluster is rebuilt from a snapshot, told with this cluster's own names: [`take`] stores it beside the snapshot, [`command`] is its heart.

use bulkhead_sdk::{Result, entries, metadata::Metadata, types::Proof};

use crate::{
    config::{Config, Distribution},
    facts,
    members::Reached,
};

/// What the revision is raised by: more than any cluster writes between a snapshot and its loss, and far from the end of 63 bits.
const BUMP: &str = "--bump-revision 1000000000 --mark-compacted";

/// The first releases of each line whose restore takes [`BUMP`].
const BUMPING: [(u32, u32, u32); 3] = [(3, 4, 28), (3, 5, 10), (3, 6, 0)];

/// `3.5.10` as numbers.
fn version(text: &str) -> Option<(u32, u32, u32)> {
    let mut numbers = text.split(['.', '-']).map(|part| part.parse().ok());
    Some((numbers.next()??, numbers.next()??, numbers.next().flatten().unwrap_or(0)))
}

/// Whether the tools of this release can raise the revision.
fn can_bump(server: &str) -> bool {
    version(server).is_some_and(|(major, minor, patch)| {
        let line = BUMPING.iter().find(|(a, b, _)| (*a, *b) == (major, minor));
        line.map_or((major, minor) > (3, 6), |(.., first)| patch >= *first)
    })
}

/// The command that makes a member's data of the snapshot, for the tools of the server's release.
pub(crate) fn command(server: &str, snapshot: &str) -> String {
    let tool = if version(server).is_some_and(|(major, minor, _)| (major, minor) >= (3, 5)) {
        "etcdutl"
    } else {
        "etcdctl"
    };
    let bump = if can_bump(server) { format!(" {BUMP}") } else { String::new() };
    let environment = if tool == "etcdctl" { "ETCDCTL_API=3 " } else { "" };
    format!("{environment}{tool} snapshot restore {snapshot} --data-dir DATA_DIR{bump}")
}

/// What to know about the revision.
pub(crate) fn about_revision(server: &str) -> &'static str {
    if can_bump(server) {
        "The revision is raised and everything before it marked as compacted: controllers that watch (Kubernetes' above all) notice that they must list \
         anew, instead of seeing time go backwards."
    } else {
        "The tools of this release cannot raise the revision: controllers that watch (Kubernetes' above all) may see time go backwards, so restart all \
         of them after the restore. `etcdutl` of 3.4.28, 3.5.10, 3.6 or later can: add `--bump-revision 1000000000 --mark-compacted`."
    }
}

/// Stores the runbook; `token` is the entry with K3s' server token.
pub(crate) fn take(config: &Config, proof: &mut Proof, member: &Reached, token: Option<&str>) -> Result<()> {
    let text = text(config, proof, &member.status.version, token);
    let mut entry = entries::create(facts::RUNBOOK, &Metadata::file().with_mode(0o644))?;
    entry.write_bytes(text.as_bytes())?;
    proof.count(&entry.finish()?);
    Ok(())
}

fn text(config: &Config, proof: &Proof, server: &str, token: Option<&str>) -> String {
    let fact = |name: &str| {
        let fact = proof.facts.iter().find(|fact| fact.name == name);
        fact.map_or("unknown", |fact| fact.value.as_str()).to_owned()
    };
    let head = format!(
        "# Rebuilding this etcd cluster\n\n\
         `snapshot.db` was taken from etcd {server}, cluster {}, member {} ({}), at revision {}.\n\
         Check it first: `{} snapshot status snapshot.db` shows hash {}, {} keys, {} bytes.\n\n",
        fact("cluster-id"),
        fact("member-id"),
        fact("member"),
        fact(facts::REVISION),
        if version(server).is_some_and(|(major, minor, _)| (major, minor) >= (3, 5)) {
            "etcdutl"
        } else {
            "etcdctl"
        },
        fact(facts::HASH),
        fact(facts::TOTAL_KEYS),
        fact(facts::TOTAL_SIZE),
    );
    let body = match config.distribution {
        Distribution::Etcd => etcd(server),
        Distribution::K3s => k3s(token.unwrap_or("files/server/token")),
        Distribution::Kubeadm => kubeadm(server),
    };
    format!("{head}{body}{}", files(config))
}

fn etcd(server: &str) -> String {
    format!(
        "1. Stop every member. A member of the old cluster that lives on does not join the new one, and clients may still find it.\n\
         2. On each machine, with the member's own name and peer address:\n\n\
         \x20      {} \\\n\
         \x20        --name NAME --initial-cluster NAME=https://IP:2380,… --initial-cluster-token NEW_TOKEN \\\n\
         \x20        --initial-advertise-peer-urls https://IP:2380\n\n\
         \x20  DATA_DIR must not exist yet; move the old one away. Every member starts from the same snapshot.\n\
         3. Give DATA_DIR to etcd's user, start all members, and look: `etcdctl endpoint status --cluster`.\n\n{}\n",
        command(server, "snapshot.db"),
        about_revision(server),
    )
}

fn k3s(token: &str) -> String {
    format!(
        "K3s restores by itself; the server token must be the one of this snapshot's time, because it encrypts the cluster's certificates within.\n\n\
     1. Stop K3s on every server: `systemctl stop k3s`.\n\
     2. On the first server:\n\n\
     \x20      k3s server --cluster-reset --cluster-reset-restore-path=/PATH/TO/snapshot.db --token=\"$(cat {token})\"\n\n\
     \x20  On a new machine: install the same release of K3s first, and put `config.yaml` back into /etc/rancher/k3s/. K3s ends by itself and says that the\n\
     \x20  datastore was reset.\n\
     3. `systemctl start k3s` there; `kubectl get nodes` with `k3s.yaml` (on another machine, with the server's address in it).\n\
     4. On the other servers: `rm -rf /var/lib/rancher/k3s/server/db`, then `systemctl start k3s`: they join anew.\n\
     5. Controllers have seen a later state than the restored one: restart them, or the machines.\n"
    )
}

fn kubeadm(server: &str) -> String {
    format!(
        "1. On every control plane machine, stop the static pods: `mv /etc/kubernetes/manifests /etc/kubernetes/manifests.stopped`, and wait until\n\
         \x20  `crictl ps` shows neither etcd nor kube-apiserver.\n\
         2. `mv /var/lib/etcd /var/lib/etcd.old` on each, then on each, with the machine's own name and address:\n\n\
         \x20      {} \\\n\
         \x20        --name NODE --initial-cluster NODE=https://IP:2380,… --initial-cluster-token NEW_TOKEN \\\n\
         \x20        --initial-advertise-peer-urls https://IP:2380\n\n\
         \x20  with /var/lib/etcd as DATA_DIR. On a new machine, put /etc/kubernetes/pki back first.\n\
         3. `mv /etc/kubernetes/manifests.stopped /etc/kubernetes/manifests` on each; then `kubectl get nodes`.\n\
         4. Restart what watches the cluster: `systemctl restart kubelet`, and the pods of controllers and operators.\n\n{}\n",
        command(server, "snapshot.db"),
        about_revision(server),
    )
}

fn files(config: &Config) -> String {
    if config.files.is_empty() {
        return String::new();
    }
    let lines: String = config.files.iter().map(|file| format!("- `{}/{file}`\n", facts::FILES)).collect();
    format!("\nFurther files of this snapshot:\n\n{lines}")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_revision_is_raised_where_the_tools_can() {
        for (server, tool, bumps) in [
            ("3.4.23", "etcdctl", false),
            ("3.4.28", "etcdctl", true),
            ("3.5.1", "etcdutl", false),
            ("3.5.10", "etcdutl", true),
            ("3.5.21-k3s1", "etcdutl", true),
            ("3.6.0", "etcdutl", true),
            ("4.0.0", "etcdutl", true),
            ("3.3.27", "etcdctl", false),
            ("", "etcdctl", false),
        ] {
            let command = command(server, "snapshot.db");
            assert!(
                command.contains(&format!("{tool} snapshot restore snapshot.db")),
                "{server}: {command}"
            );
            assert_eq!(command.contains(BUMP), bumps, "{server}: {command}");
        }
    }
}
