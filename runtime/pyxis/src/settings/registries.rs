//! How registries are talked to, and with whose files of certificates, rules and credentials.

use std::path::PathBuf;

use images::registry::{self, Authorities, Credentials, Proxies, RegistriesConf};
use linux::environ::Environ;

use super::layers::Resolved;
use super::places::{base, place};
use super::table::Id;
use super::variables as v;

pub(super) fn registries(resolved: &Resolved, host: &Environ) -> registry::Settings {
    let mut settings = registry::Settings {
        connect_timeout: resolved.limit(Id::ConnectTimeout),
        idle_timeout: resolved.limit(Id::IdleTimeout),
        transfer_timeout: resolved.limit(Id::TransferTimeout),
        retries: resolved.number(Id::Retries).map_or(0, |n| u32::try_from(n).unwrap_or(u32::MAX)),
        connections: match resolved.number(Id::Connections) {
            None | Some(0) => usize::MAX,
            Some(number) => number as usize,
        },
        allow_http: resolved.is_on(Id::AllowHttp),
        http_hosts: resolved.words(Id::HttpHosts),
        proxies: Proxies::of_environ(host),
        authorities: Authorities::of_environ(host),
        certificates: certificates(host),
        rules: registries_conf(host),
        ..registry::Settings::default()
    };
    for (registry, mirror) in resolved.pairs(Id::Mirrors) {
        settings.add_mirror(registry, mirror);
    }
    settings
}

/// podman's folders of certificates, the user's first, and docker's.
fn certificates(host: &Environ) -> Vec<PathBuf> {
    let own = base(host, v::XDG_CONFIG_HOME, ".config").map(|path| path.join("containers/certs.d"));
    let all = ["/etc/containers/certs.d", "/etc/docker/certs.d"].map(PathBuf::from);
    own.into_iter().chain(all).collect()
}

/// podman's files: the one that its variable names, or else the user's, or else the node's; and the
/// folders beside, the user's last.
fn registries_conf(host: &Environ) -> RegistriesConf {
    let own = base(host, v::XDG_CONFIG_HOME, ".config").map(|path| path.join("containers"));
    let site = PathBuf::from("/etc/containers");
    let users = own.as_ref().map(|own| own.join("registries.conf"));
    let files = match place(host, v::CONTAINERS_REGISTRIES_CONF) {
        Some(named) => vec![named],
        None => users.into_iter().chain([site.join("registries.conf")]).collect(),
    };
    let folders =
        [Some(site), own].into_iter().flatten().map(|path| path.join("registries.conf.d"));
    RegistriesConf::new(files, folders.collect())
}

/// enroot's file, then `$REGISTRY_AUTH_FILE`, podman's and docker's.
pub(super) fn credentials(resolved: &Resolved, host: &Environ) -> Credentials {
    let config = base(host, v::XDG_CONFIG_HOME, ".config");
    let docker = base(host, v::DOCKER_CONFIG, ".docker");
    let files = [
        place(host, v::REGISTRY_AUTH_FILE),
        place(host, v::XDG_RUNTIME_DIR).map(|path| path.join("containers/auth.json")),
        config.map(|path| path.join("containers/auth.json")),
        docker.map(|path| path.join("config.json")),
    ];
    let netrc = resolved.path(Id::UserConfig).map(|path| path.join(".credentials"));
    // Where clouds put it, by a profile that a step does not see.
    let other = place(host, v::HOME).map(|home| home.join(".enroot/.credentials"));
    let is_missing = !resolved.is_said(Id::UserConfig)
        && netrc.as_ref().is_some_and(|path| !path.exists())
        && other.as_ref().is_some_and(|path| path.exists());
    Credentials {
        netrc: if is_missing { other } else { netrc },
        docker: files.into_iter().flatten().collect(),
    }
}
