use super::*;
use crate::uri::Uri;

fn conf(texts: &[&str]) -> (tempfile::TempDir, RegistriesConf) {
    let directory = tempfile::tempdir().unwrap();
    let main = directory.path().join("registries.conf");
    let folder = directory.path().join("registries.conf.d");
    fs::create_dir(&folder).unwrap();
    for (at, text) in texts.iter().enumerate() {
        let path = if at == 0 { main.clone() } else { folder.join(format!("{at}.conf")) };
        fs::write(path, text).unwrap();
    }
    (directory, RegistriesConf::new(vec![main], vec![folder]))
}

fn ways(conf: &RegistriesConf, uri: &str) -> String {
    let Ok(Uri::Registry(reference)) = uri.parse() else { panic!("{uri}") };
    match conf.endpoints(&reference) {
        Err(error) => error.to_string(),
        Ok(endpoints) => {
            let show = endpoints.iter().map(|endpoint| {
                let insecure = if endpoint.insecure { "!" } else { "" };
                format!("{}{insecure} {}", endpoint.host, endpoint.repository)
            });
            show.collect::<Vec<_>>().join(", ")
        }
    }
}

#[test]
fn the_longest_prefix_says_where_an_image_is() {
    let (_keep, conf) = conf(&[r#"
        unqualified-search-registries = ["example.com"]
        short-name-mode = "enforcing"
        credential-helpers = ["x"]
        [[registry]]
        location = "docker.io"
        [[registry.mirror]]
        location = "cache.site:5000/hub"
        insecure = true
        [[registry.mirror]]
        location = "second.site"
        [[registry]]
        prefix = "docker.io/bitnami"
        location = "quay.io/bitnami-here"
        insecure = true
        [[registry]]
        prefix = "*.example.com"
        [[registry.mirror]]
        location = "m.site/example"
        pull-from-mirror = "digest-only"
        [[registry]]
        prefix = "bad.example.com/team"
        blocked = true
        [[registry]]
        location = "ghcr.io"
        mirror-by-digest-only = true
        mirror = [{ location = "m.site/g" }, { location = "t.site", pull-from-mirror = "tag-only" }]
    "#]);
    let digest = format!("@sha256:{}", "a".repeat(64));
    for (uri, want) in [
        (
            "docker://ubuntu",
            "cache.site:5000! hub/library/ubuntu, second.site library/ubuntu, registry-1.docker.io library/ubuntu",
        ),
        (
            "docker://index.docker.io#a/b:1",
            "cache.site:5000! hub/a/b, second.site a/b, registry-1.docker.io a/b",
        ),
        ("docker://bitnami/redis", "quay.io! bitnami-here/redis"),
        (
            "docker://bitnamix/redis",
            "cache.site:5000! hub/bitnamix/redis, second.site bitnamix/redis, registry-1.docker.io bitnamix/redis",
        ),
        ("docker://a.example.com/x", "a.example.com x"),
        (&format!("docker://a.example.com/x{digest}"), "m.site example/x, a.example.com x"),
        ("docker://example.com/x", "example.com x"),
        ("docker://example.com:5000/x", "example.com:5000 x"),
        (
            "docker://bad.example.com/team/x",
            "bad.example.com/team/x is not to be fetched on this node: registries.conf blocks bad.example.com/team",
        ),
        ("docker://bad.example.com/teams/x", "bad.example.com teams/x"),
        ("docker://ghcr.io/a", "t.site a, ghcr.io a"),
        (&format!("docker://ghcr.io/a{digest}"), "m.site g/a, ghcr.io a"),
        ("docker://ghcr.io:8443/a", "ghcr.io:8443 a"),
        ("docker://other.org/a", "other.org a"),
    ] {
        assert_eq!(ways(&conf, uri), want, "{uri}");
    }
}

#[test]
fn a_rule_may_be_for_one_tag_or_digest() {
    let digest = format!("@sha256:{}", "a".repeat(64));
    let (keep, conf) = conf(&[
        "[[registry]]\nprefix = 'a.org/x:bad'\nblocked = true\n",
        "[[registry]]\nprefix = 'a.org/x:latest'\nlocation = 'b.org/y:latest'\n[[registry]]\nlocation = 'a.org/x'\n\
         [[registry.mirror]]\nlocation = 'm.org/x'\n[[registry]]\nlocation = 'c.org:5000'\ninsecure = true\n",
        &format!("[[registry]]\nprefix = 'a.org/x{digest}'\nblocked = true\n"),
    ]);
    let blocked = |prefix: &str| {
        format!("a.org/x is not to be fetched on this node: registries.conf blocks {prefix}")
    };
    for (uri, want) in [
        ("docker://a.org/x:bad", blocked("a.org/x:bad")),
        ("docker://a.org/x:bade", "m.org x, a.org x".to_owned()),
        ("docker://a.org/x/bad", "m.org x/bad, a.org x/bad".to_owned()),
        ("docker://a.org/y:bad", "a.org y".to_owned()),
        ("docker://a.org/x", "b.org y".to_owned()),
        (&format!("docker://a.org/x{digest}"), blocked(&format!("a.org/x{digest}"))),
        (&format!("docker://a.org/x:1{digest}"), blocked(&format!("a.org/x{digest}"))),
        // A port is no tag.
        ("docker://c.org:5000/x:5000", "c.org:5000! x".to_owned()),
    ] {
        assert_eq!(ways(&conf, uri), want, "{uri}");
    }
    // A file that somebody has masked says nothing.
    let masked = keep.path().join("registries.conf.d/1.conf");
    fs::remove_file(&masked).unwrap();
    std::os::unix::fs::symlink("/dev/null", &masked).unwrap();
    let null = vec![PathBuf::from("/dev/null")];
    let conf = RegistriesConf::new(null, vec![keep.path().join("registries.conf.d")]);
    assert_eq!(ways(&conf, "docker://a.org/x:bad"), "a.org x");
}

#[test]
fn names_that_podman_has_elsewhere_and_keys_without_meaning_are_said() {
    let (_keep, conf) = conf(&[
        "[aliases]\nfedora = 'registry.fedoraproject.org/fedora'\ncentos = 'a.org/centos'\n'team/x' = 'b.org:5000/x'\n",
        "[aliases]\ncentos = 'quay.io/centos/centos'\nubuntu = 'docker.io/library/ubuntu'\n",
    ]);
    let said = |uri: &str| {
        let Ok(Uri::Registry(reference)) = uri.parse() else { panic!("{uri}") };
        conf.said().unwrap().other_place(&name_of(&reference)).unwrap_or_default()
    };
    assert_eq!(
        said("docker://fedora:42"),
        "registries.conf has \"fedora\" stand for registry.fedoraproject.org/fedora; here it is Docker Hub's, as \
         with enroot (registry.fedoraproject.org#fedora is the other)"
    );
    assert!(said("docker://centos").contains("(quay.io#centos/centos is the other)"));
    assert!(said("docker://team/x").contains("(b.org:5000#x is the other)"));
    for other in ["docker://ubuntu", "docker://quay.io#fedora", "docker://other"] {
        assert_eq!(said(other), "", "{other}");
    }
    let read = parse(
        "credential-helpers = ['secret-service']\nunqualified-search-registries = ['a']\nshort-name-mode = 'x'\nblock = 1\n\
         [[registry]]\nlocation = 'a'\nblock = true\n[[registry.mirror]]\nlocation = 'b'\npull = 1\n",
    );
    assert_eq!(read.ok().unwrap().unknown, ["block", "credential-helpers", "pull"]);
    let read = parse("credential-helpers = ['containers-auth.json']\n");
    assert!(read.ok().unwrap().unknown.is_empty());
}

#[test]
fn files_of_the_folder_add_and_replace() {
    let (_keep, conf) = conf(&[
        "[[registry]]\nlocation = \"a.org\"\nblocked = true\n[[registry]]\nlocation = \"b.org\"\ninsecure = true\n",
        "[[registry]]\nlocation = \"a.org\"\n[[registry.mirror]]\nlocation = \"m.org\"\n",
        "[registries.block]\nregistries = ['c.org']\n[registries.insecure]\nregistries = ['d.org:5000']\n[registries.search]\nregistries = ['x']\n",
    ]);
    assert_eq!(ways(&conf, "docker://a.org/x"), "m.org x, a.org x");
    assert_eq!(ways(&conf, "docker://b.org/x"), "b.org! x");
    assert!(ways(&conf, "docker://c.org/x").contains("blocks c.org"));
    assert_eq!(ways(&conf, "docker://d.org:5000/x"), "d.org:5000! x");
    assert_eq!(ways(&RegistriesConf::default(), "docker://a.org/x"), "a.org x");
}

/// As podman: a rule that cannot be read may be the one that says no.
#[test]
fn nothing_is_fetched_where_a_file_that_may_block_it_is_damaged() {
    let sound = "[[registry]]\nlocation = \"a.org\"\nblocked = true\n";
    let cut = "\n[[registry]]\nlocation = \"b.org\"\nblocked = ";
    for (texts, file, problem) in [
        (&[cut][..], "registries.conf: line 4: ", "nothing is fetched"),
        (&[sound, cut], "registries.conf.d/1.conf: line 4: ", "nothing is fetched"),
        (&[sound, "[[registry]]\nlocation = \"https://a.org\"\n"], "1.conf: ", "is no HOST"),
        (&[sound, "[[registry]]\nblocked = yes\n"], "1.conf: line 2: ", "nothing is fetched"),
    ] {
        let (_keep, conf) = conf(texts);
        for uri in ["docker://b.org/x", "docker://other.org/x"] {
            let error = ways(&conf, uri);
            assert!(error.contains(file) && error.contains(problem), "{uri}: {error}");
        }
    }
    // What is there and cannot be read at all, and what of a folder is too much.
    let (keep, _) = conf(&[sound]);
    let main = keep.path().join("registries.conf");
    let folder = keep.path().join("registries.conf.d");
    let refused = |problem: &str| {
        let conf = RegistriesConf::new(vec![main.clone()], vec![folder.clone()]);
        let error = ways(&conf, "docker://b.org/x");
        assert!(error.contains(problem), "{error}");
    };
    std::os::unix::fs::symlink("gone", folder.join("a.conf")).unwrap();
    refused("a.conf: No such file");
    fs::remove_file(folder.join("a.conf")).unwrap();
    fs::write(folder.join("a.conf"), b"# \xff").unwrap();
    refused("a.conf: it is no UTF-8 text");
    fs::remove_file(folder.join("a.conf")).unwrap();
    (0..=FILES).for_each(|n| fs::write(folder.join(format!("{n}.conf")), "").unwrap());
    refused("registries.conf.d: it has more than 200 files");
    fs::remove_dir_all(&folder).unwrap();
    fs::write(&folder, "").unwrap();
    refused("registries.conf.d: Not a directory");
}

/// Most people have none of these.
#[test]
fn without_a_file_and_a_folder_all_is_as_it_is_named() {
    let (keep, _) = conf(&[]);
    let gone = |name: &str| vec![keep.path().join(name)];
    let conf = RegistriesConf::new(gone("a"), gone("b"));
    assert_eq!(ways(&conf, "docker://a.org/x"), "a.org x");
}

#[test]
fn what_is_wrong_is_said() {
    for (text, problem) in [
        ("[[registry]]\n", "neither a prefix nor a location"),
        ("[[registry]]\nlocation = 'http://x'\n", "prefix: \"http://x\" is no HOST"),
        ("\n[[registry]]\nlocation = 7\n", "line 3: "),
        (
            "[[registry]]\nlocation='a'\n[[registry.mirror]]\nlocation='b'\npull-from-mirror='never'\n",
            "there are all, digest-only and tag-only",
        ),
        ("[[registry]]\nlocation='a'\n[[registry.mirror]]\n", "a mirror's location: \"\""),
        ("[[registry]]\nlocation='bad host'\n", "prefix: \"bad host\" is no HOST[:PORT][/PATH]"),
        (
            "[[registry]]\nprefix='a'\nlocation='u:SECRET@b/x'\n",
            "location: \"***@b/x\" is no HOST[:PORT][/PATH]: a password's place is .credentials",
        ),
        ("[registries.block]\nregistries=['*.a:910000']\n", "a registry: \"a:910000\" is no HOST"),
    ] {
        let error = parse(text).err().unwrap();
        assert!(error.contains(problem), "{error}");
    }
    // What a prefix leaves nothing of has no place.
    let (_keep, conf) = conf(&["[[registry]]\nprefix = 'a.org/x'\nlocation = 'b.org'\n"]);
    assert!(
        ways(&conf, "docker://a.org/x").contains("no image of its own"),
        "{}",
        ways(&conf, "docker://a.org/x")
    );
    assert_eq!(ways(&conf, "docker://a.org/x/y"), "b.org y");
}
