//! Fabrics as data: recipes say which nodes and libraries of the node a container gets, and when. A
//! library goes into an image only if all that it needs is there: names, and versions of them. A
//! recipe is carried out in full or not at all.

use std::collections::BTreeMap;
use std::path::Path;

use serde::{Deserialize, Serialize};

use super::elf::{Dynamic, Elf};
use super::host::{Host, base, folder};
use super::ldcache::Cache;
use super::nvidia::read_only;
use super::place;
use crate::cdi::{Action, DeviceNode, Edits};

/// Those that are shipped.
const SHIPPED: &str = include_str!("recipes.toml");
/// Where an image's libraries may be that no cache names.
const USUAL: [&str; 7] = [
    "/lib64",
    "/usr/lib64",
    "/lib/x86_64-linux-gnu",
    "/usr/lib/x86_64-linux-gnu",
    "/lib/aarch64-linux-gnu",
    "/usr/lib/aarch64-linux-gnu",
    "/usr/lib",
];
const LARGEST: u64 = 16 << 20;

/// What a container gets of a fabric.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Recipe {
    /// Off, though there is a table of it.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub enabled: Option<bool>,
    /// Patterns of paths that all match something on the node.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub when: Option<Vec<String>>,
    /// Patterns of device nodes.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub devices: Option<Vec<String>>,
    /// Names that programs ask for, or patterns of paths.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub libraries: Option<Vec<String>>,
    /// Variables.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub environment: Option<BTreeMap<String, String>>,
}

/// Recipes by their names.
pub type Recipes = BTreeMap<String, Recipe>;

/// Those that are shipped; none of them is on.
///
/// # Panics
/// Never: a test reads them.
pub fn shipped() -> Recipes {
    toml::from_str(SHIPPED).expect("the shipped recipes can be read")
}

/// What a site has written, over what is shipped; without those that are off.
pub fn enabled(written: Recipes) -> Recipes {
    let mut shipped = shipped();
    let on = written.into_iter().filter(|(_, recipe)| recipe.enabled != Some(false));
    on.map(|(name, recipe)| {
        let below = shipped.remove(&name).unwrap_or_default();
        let recipe = Recipe {
            enabled: None,
            when: recipe.when.or(below.when),
            devices: recipe.devices.or(below.devices),
            libraries: recipe.libraries.or(below.libraries),
            environment: recipe.environment.or(below.environment),
        };
        (name, recipe)
    })
    .collect()
}

/// A recipe that applies on this node.
#[derive(Debug)]
pub(crate) struct Injection {
    pub(crate) name: String,
    pub(crate) edits: Edits,
    /// Libraries, and what each needs.
    libraries: Vec<(String, Dynamic)>,
    /// Those that the node has not.
    missing: Vec<String>,
}

/// Whether a recipe applies on a node, and how many libraries it finds there.
pub fn applies(host: &Host, recipe: &Recipe) -> Option<usize> {
    Injection::of(host, "", recipe, None).map(|injection| injection.libraries.len())
}

impl Injection {
    /// `None` where the recipe does not apply. `cuda` is the image's major version.
    pub(crate) fn of(
        host: &Host,
        name: &str,
        recipe: &Recipe,
        cuda: Option<u32>,
    ) -> Option<Injection> {
        let when = recipe.when.as_deref().unwrap_or_default();
        if !when.iter().all(|pattern| !glob(host, pattern).is_empty()) {
            return None;
        }
        let names = recipe.libraries.as_deref().unwrap_or_default();
        if cuda.is_none() && !name.is_empty() && names.iter().any(|name| name.contains("{cuda}")) {
            return None; // nothing for an image without CUDA
        }
        let found = find(host, names, cuda);
        let is_found = |name: &&String| found.iter().any(|path| stem(path) == stem(name));
        let missing = names.iter().filter(|name| !is_found(name)).cloned().collect();
        let mut edits = Edits::default();
        for path in recipe.devices.iter().flatten().flat_map(|pattern| glob(host, pattern)) {
            let mut node = DeviceNode::at(path.as_str());
            node.host_path = host.outside(&path).to_string_lossy().into_owned();
            edits.nodes.push(node);
        }
        let mut libraries = Vec::new();
        let mut folders: Vec<String> = Vec::new();
        for path in found {
            let file = host.open(&path)?;
            let dynamic = Elf::of(&file).and_then(|elf| elf.dynamic()).unwrap_or_default();
            let mut mount = read_only(&path);
            mount.source = host.outside(&path).to_string_lossy().into_owned();
            edits.mounts.push(mount);
            if !folders.iter().any(|known| known == folder(&path)) {
                folders.push(folder(&path).to_owned());
            }
            libraries.push((path, dynamic));
        }
        if !folders.is_empty() {
            edits.actions.push(Action::Cache { folders });
        }
        let environment = recipe.environment.iter().flatten();
        edits.env = environment.map(|(name, value)| format!("{name}={value}")).collect();
        Some(Injection { name: name.to_owned(), edits, libraries, missing })
    }

    /// Whether the image, which is the present root, has what the libraries need. The error is what it
    /// has not.
    pub(crate) fn suits(&self) -> Result<(), String> {
        if let Some(name) = self.missing.first() {
            return Err(format!("this node has no {name}"));
        }
        let cache = read_cache();
        for (path, dynamic) in &self.libraries {
            for needed in &dynamic.needed {
                if self.brings(needed) {
                    continue;
                }
                let wanted = dynamic.wanted.iter().filter(|(file, _)| file == needed);
                let wanted: Vec<&str> = wanted.map(|(_, version)| version.as_str()).collect();
                has(cache.as_ref(), needed, &wanted)
                    .map_err(|lack| format!("{} needs {lack}", base(path)))?;
            }
        }
        Ok(())
    }

    /// Whether the recipe has the library of this name itself.
    fn brings(&self, soname: &str) -> bool {
        self.libraries
            .iter()
            .any(|(path, dynamic)| dynamic.soname.as_deref().unwrap_or(base(path)) == soname)
    }
}

/// Whether the image has a library with these versions.
fn has(cache: Option<&Cache>, soname: &str, versions: &[&str]) -> Result<(), String> {
    let cached = cache.iter().flat_map(|cache| &cache.entries);
    let cached = cached.filter(|entry| entry.name == soname && entry.is_wide());
    let usual = USUAL.iter().map(|folder| format!("{folder}/{soname}"));
    let mut paths = cached.map(|entry| entry.path.clone()).chain(usual);
    let Some(file) = paths.find_map(|path| place::file(Path::new(&path)).ok()) else {
        return Err(format!("{soname}, which the image has not"));
    };
    let defined = Elf::of(&file).and_then(|elf| elf.dynamic()).unwrap_or_default().defined;
    match versions.iter().find(|version| !defined.iter().any(|have| have == *version)) {
        None => Ok(()),
        Some(version) => {
            let family = version.split('_').next().unwrap_or(version);
            let newest =
                defined.iter().filter(|have| have.starts_with(family)).max_by_key(|have| {
                    let numbers = have.rsplit('_').next().unwrap_or_default().split('.');
                    numbers.map(|part| part.parse::<u32>().unwrap_or(0)).collect::<Vec<_>>()
                });
            let newest = newest.map_or("none of them", String::as_str);
            Err(format!("{version} of {soname}, and the image has up to {newest}"))
        }
    }
}

fn read_cache() -> Option<Cache> {
    use std::io::Read;
    let mut bytes = Vec::new();
    let file = place::file(Path::new("/etc/ld.so.cache")).ok()?;
    file.take(LARGEST).read_to_end(&mut bytes).ok()?;
    Cache::parse(&bytes)
}

/// The libraries that a recipe names, each once: the first file of a name.
fn find(host: &Host, names: &[String], cuda: Option<u32>) -> Vec<String> {
    let is_name = |name: &&String| !name.starts_with('/');
    let cache =
        names.iter().any(|name| is_name(&name)).then(|| host.bytes("/etc/ld.so.cache", LARGEST));
    let cache = cache.flatten().and_then(|bytes| Cache::parse(&bytes)).unwrap_or_default();
    let mut found: Vec<String> = Vec::new();
    for name in names {
        let paths: Vec<String> = match (is_name(&name), cuda) {
            (true, _) => {
                let known =
                    cache.entries.iter().find(|entry| entry.name == *name && entry.is_wide());
                known.and_then(|entry| host.resolve(&entry.path)).into_iter().collect()
            }
            (false, Some(cuda)) => glob(host, &name.replace("{cuda}", &cuda.to_string())),
            (false, None) if name.contains("{cuda}") => Vec::new(),
            (false, None) => glob(host, name),
        };
        for path in paths.iter().filter_map(|path| host.resolve(path)) {
            if !found.iter().any(|known| stem(known) == stem(&path)) {
                found.push(path);
            }
        }
    }
    found
}

/// The name of a library without its version.
fn stem(path: &str) -> &str {
    base(path).split(".so").next().unwrap_or(path)
}

/// Paths of the node that match a pattern: `*` within a name.
fn glob(host: &Host, pattern: &str) -> Vec<String> {
    let mut paths = vec![String::new()];
    for part in pattern.split('/').filter(|part| !part.is_empty()) {
        paths = match part.contains('*') {
            false => paths.into_iter().map(|path| format!("{path}/{part}")).collect(),
            true => paths
                .into_iter()
                .flat_map(|path| {
                    let names = host.names_where(&path, |name| matches(part, name));
                    names.into_iter().map(move |name| format!("{path}/{name}"))
                })
                .collect(),
        };
    }
    paths.retain(|path| !path.is_empty() && host.has(path));
    paths
}

fn matches(pattern: &str, name: &str) -> bool {
    match pattern.split_once('*') {
        None => pattern == name,
        Some((before, after)) => name.strip_prefix(before).is_some_and(|rest| {
            (0..=rest.len())
                .filter(|at| rest.is_char_boundary(*at))
                .any(|at| matches(after, &rest[at..]))
        }),
    }
}

#[cfg(test)]
mod tests {
    use super::super::elf::sample;
    use super::super::tree::Tree;
    use super::*;

    fn recipe(text: &str) -> Recipe {
        toml::from_str(text).unwrap()
    }

    #[test]
    fn what_is_shipped_is_off_and_can_be_changed() {
        let shipped = shipped();
        assert_eq!(shipped.keys().collect::<Vec<_>>(), ["cxi", "efa", "gdrcopy", "ofi-nccl"]);
        assert!(enabled(Recipes::new()).is_empty());
        let written: Recipes = toml::from_str(
            "[cxi]\n[efa]\nenabled = false\n[gdrcopy]\nlibraries = []\n[own]\ndevices = ['/dev/own']\n",
        )
        .unwrap();
        let on = enabled(written);
        assert_eq!(on.keys().collect::<Vec<_>>(), ["cxi", "gdrcopy", "own"]);
        assert_eq!(on["cxi"], Recipe { enabled: None, ..shipped["cxi"].clone() });
        assert_eq!(on["gdrcopy"].libraries, Some(Vec::new()));
        assert_eq!(on["gdrcopy"].devices, shipped["gdrcopy"].devices);
        assert!(toml::from_str::<Recipes>("[x]\nlibrary = 'y'\n").is_err());
    }

    #[test]
    fn a_recipe_finds_nodes_and_libraries_where_it_applies() {
        let tree = Tree::empty();
        let host = tree.wanted().host;
        let efa = &shipped()["efa"];
        assert_eq!(applies(&host, efa), None);
        tree.put("/dev/infiniband/uverbs0", b"");
        tree.put("/dev/infiniband/uverbs1", b"");
        assert_eq!(applies(&host, efa), None);
        tree.put(
            "/opt/amazon/efa/lib64/libfabric.so.1.27",
            &sample::library("libfabric.so.1", None),
        );
        tree.link("/opt/amazon/efa/lib64/libfabric.so.1", "libfabric.so.1.27");
        assert_eq!(applies(&host, efa), Some(1));
        let injection = Injection::of(&host, "efa", efa, None).unwrap();
        let nodes: Vec<&str> =
            injection.edits.nodes.iter().map(|node| node.path.as_str()).collect();
        assert_eq!(nodes, ["/dev/infiniband/uverbs0", "/dev/infiniband/uverbs1"]);
        assert_eq!(injection.edits.mounts[0].target, "/opt/amazon/efa/lib64/libfabric.so.1.27");
        assert_eq!(injection.edits.env, ["FI_PROVIDER=efa"]);
        // In full or not at all.
        assert_eq!(injection.suits(), Err("this node has no libibverbs.so.1".to_owned()));
        let folders = vec!["/opt/amazon/efa/lib64".to_owned()];
        assert_eq!(injection.edits.actions, [Action::Cache { folders }]);
    }

    #[test]
    fn a_plugin_by_the_images_cuda() {
        let tree = Tree::empty();
        let host = tree.wanted().host;
        for folder in ["cuda12/lib", "cuda13/lib"] {
            tree.put(
                &format!("/opt/amazon/ofi-nccl/{folder}/libnccl-net-ofi.so"),
                &sample::library("x", None),
            );
        }
        let found = |cuda| {
            let injection = Injection::of(&host, "ofi-nccl", &shipped()["ofi-nccl"], cuda).unwrap();
            injection.edits.mounts.into_iter().map(|mount| mount.target).collect::<Vec<_>>()
        };
        assert_eq!(found(Some(13)), ["/opt/amazon/ofi-nccl/cuda13/lib/libnccl-net-ofi.so"]);
        assert!(found(Some(11)).is_empty());
        let old = Injection::of(&host, "ofi-nccl", &shipped()["ofi-nccl"], Some(11)).unwrap();
        assert!(
            old.suits()
                .unwrap_err()
                .starts_with("this node has no /opt/amazon/ofi-nccl/cuda{cuda}")
        );
        // An image without CUDA is no matter of this recipe.
        assert!(Injection::of(&host, "ofi-nccl", &shipped()["ofi-nccl"], None).is_none());
    }

    #[test]
    fn a_library_goes_only_where_all_that_it_needs_is() {
        let needs = |needed: &[&str], wanted: &[(&str, &str)]| Injection {
            name: "x".into(),
            edits: Edits::default(),
            missing: Vec::new(),
            libraries: vec![(
                "/usr/lib64/libx.so.1.2".into(),
                Dynamic {
                    soname: Some("libx.so.1".into()),
                    needed: needed.iter().map(|name| (*name).to_owned()).collect(),
                    wanted: wanted
                        .iter()
                        .map(|(file, name)| ((*file).into(), (*name).into()))
                        .collect(),
                    defined: Vec::new(),
                },
            )],
        };
        // The present root is this machine's, which has a glibc.
        assert_eq!(
            needs(&["libc.so.6", "libx.so.1"], &[("libc.so.6", "GLIBC_2.17")]).suits(),
            Ok(())
        );
        let error = needs(&["libc.so.6"], &[("libc.so.6", "GLIBC_2.999")]).suits().unwrap_err();
        assert!(
            error.starts_with(
                "libx.so.1.2 needs GLIBC_2.999 of libc.so.6, and the image has up to GLIBC_2."
            ),
            "{error}"
        );
        let error = needs(&["libabsent.so.7"], &[]).suits().unwrap_err();
        assert_eq!(error, "libx.so.1.2 needs libabsent.so.7, which the image has not");
    }

    #[test]
    fn patterns() {
        for (pattern, name, expected) in [
            ("cxi*", "cxi0", true),
            ("cxi*", "xcxi0", false),
            ("lib*", "lib", true),
            ("a*b*c", "axxbyyc", true),
            ("a*b*c", "axxbyy", false),
            ("*", "é", true),
        ] {
            assert_eq!(matches(pattern, name), expected, "{pattern} {name}");
        }
        let own = recipe("when = ['/never*']\n");
        assert_eq!(applies(&Host::default(), &own), None);
    }
}
