use super::*;
use images::registry::Authorities;
use proptest::prelude::*;
use squashfs::write::Packing;
use std::path::Path;
use std::time::Duration;

fn user() -> User {
    let name = |_| "alice".to_owned();
    User { uid: 1000, gid: 100, name, home: Some("/home/alice".into()) }
}

fn environ(variables: &[(&str, &str)]) -> Environ {
    variables.iter().map(|(name, value)| (name.into(), value.into())).collect()
}

fn settings(text: &str, variables: &[(&str, &str)]) -> Result<Settings, String> {
    let file = parse(text, Path::new("/p.toml"), &user()).map_err(|error| error.to_string())?;
    Settings::new(environ(variables), EnrootConf::default(), Some(file))
        .map_err(|error| error.to_string())
}

/// Every setting, as the text of a variable.
fn said(settings: &Settings, variable: &str) -> Option<String> {
    let mut all = settings.resolved.all();
    let (_, value, _) = all.find(|(setting, _, _)| setting.variable == variable)?;
    Some(value?.to_text().into_string().unwrap())
}

#[test]
fn every_kind_of_value() {
    let got = settings(
        "[paths]\ndata = '/local/%u-%g/%U/100%%%h'\n\
         [container]\nwritable = true\nmount_home = false\nmax_processors = 0x10\n\
         [enroot]\nhooks = ['/a', '/b/%u']\n\
         [store]\nmax_size = '200G'\n\
         [registries]\nhttp = ['localhost:5000', 'x']\npull_policy = 'missing'\n\
         mirrors = { 'docker.io' = ['m1', 'm2'] }\n",
        &[],
    )
    .unwrap();
    for (variable, wanted) in [
        (v::DATA_PATH, "/local/1000-100/alice/100%/home/alice"),
        (v::ROOTFS_WRITABLE, "yes"),
        (v::MOUNT_HOME, "no"),
        (v::MAX_PROCESSORS, "16"),
        (v::HOOKS_PATH, "/a:/b/1000"),
        (v::STORE_MAX_BYTES, "214748364800"),
        (v::HTTP_REGISTRIES, "localhost:5000,x"),
        (v::PULL_POLICY, "missing"),
        (v::REGISTRY_MIRRORS, "docker.io=m1,docker.io=m2"),
    ] {
        assert_eq!(said(&got, variable).as_deref(), Some(wanted));
        // Children find it where they look.
        assert_eq!(got.host.get(OsStr::new(variable)), Some(&wanted.into()));
    }
    assert_eq!(got.squash.program.processors(), 16);
    assert_eq!(got.folders.hooks, ["/a", "/b/1000"].map(PathBuf::from));
}

#[test]
fn defaults_are_the_real_ones() {
    let home = [(v::HOME, "/h")];
    let bare = settings("", &home).unwrap();
    assert_eq!(bare.paths.data, Some("/h/.local/share/enroot".into()));
    assert_eq!(bare.store.unwrap().path, Path::new("/h/.cache/pyxis"));
    assert_eq!(said(&settings("", &home).unwrap(), v::CACHE_PATH).unwrap(), "/h/.cache");
    assert_eq!(bare.paths.temp, Path::new("/tmp"));
    let xdg =
        [(v::HOME, "/h"), (v::XDG_DATA_HOME, "/d"), (v::XDG_CACHE_HOME, "/c"), (v::TMPDIR, "/t")];
    let moved = settings("", &xdg).unwrap();
    assert_eq!(moved.paths.data, Some("/d/enroot".into()));
    assert_eq!(moved.store.unwrap().path, Path::new("/c/pyxis"));
    assert_eq!(moved.paths.temp, Path::new("/t"));
    assert_eq!(settings("", &[]).unwrap().paths.data, None);
}

#[test]
fn the_environment_is_above_the_file_and_an_empty_variable_says_nothing() {
    let file = "[container]\nmax_processors = 3\nwritable = true\n";
    let with = |value| settings(file, &[(v::MAX_PROCESSORS, value), (v::ROOTFS_WRITABLE, "no")]);
    assert_eq!(with("5").unwrap().squash.program.processors(), 5);
    assert!(!with("5").unwrap().container.writable);
    assert_eq!(with("").unwrap().squash.program.processors(), 3);
    let from: Vec<_> =
        with("").unwrap().resolved.all().map(|(s, _, o)| (s.key, o.clone())).collect();
    let line = Origin::File { path: "/p.toml".into(), line: 2 };
    assert!(from.contains(&("max_processors", line)));
    assert!(from.contains(&("writable", Origin::Environment)));
    assert!(from.contains(&("remap_root", Origin::Default)));
}

#[test]
fn errors_name_their_place_and_what_was_meant() {
    for (text, error) in [
        (
            "\n[container]\nwriteable = true\n",
            "/p.toml:3: unknown key `writeable`; did you mean `writable`?",
        ),
        ("[containers]\n", "/p.toml:1: unknown table `containers`; did you mean `container`?"),
        (
            "[paths]\nxyzzy = 1\n",
            "/p.toml:2: unknown key `xyzzy`; `pyxis config` lists what there is",
        ),
        (
            "[container]\n\nwritable = 'yes'\n",
            "/p.toml:3: writable: it takes true or false, without quotes",
        ),
        (
            "[paths]\ndata = 'x/%u'\n",
            "/p.toml:2: data: \"x/1000\" is no absolute path (%h is the home directory)",
        ),
        ("[paths]\ndata = '/%x'\n", "/p.toml:2: data: after % comes u, g, U, h or %"),
        (
            "[registries]\nretries = -1\n",
            "/p.toml:2: retries: it takes a whole number, zero or more",
        ),
        (
            "[registries]\npull_policy = 'sometimes'\n",
            "/p.toml:2: pull_policy: \"sometimes\" is none of always, missing, never",
        ),
        (
            "[container]\npacking = 'tight'\n",
            "/p.toml:2: packing: \"tight\" is none of speed, balanced, size",
        ),
        ("[store]\nmax_size = '3Q'\n", "/p.toml:2: max_size: sizes end in K, M, G, T or P"),
        ("paths = 1\n", "/p.toml:1: paths is a table: write [paths] and its keys below"),
    ] {
        assert_eq!(settings(text, &[]).unwrap_err(), error);
    }
    assert!(settings("[paths]\ndata = \n", &[]).unwrap_err().starts_with("/p.toml:2: "));
    for (variable, value, error) in [
        (
            v::MAX_PROCESSORS,
            "many",
            "ENROOT_MAX_PROCESSORS=many: it takes a whole number, zero or more",
        ),
        (v::STORE_MAX_BYTES, "-1", "PYXIS_STORE_MAX_BYTES=-1: it takes a number of bytes"),
        (v::PULL_POLICY, "x", "PYXIS_PULL_POLICY=x: \"x\" is none of always, missing, never"),
        (v::REGISTRY_MIRRORS, "a", "PYXIS_REGISTRY_MIRRORS=a: it takes HOST=PLACE[,HOST=PLACE...]"),
        (
            v::SOURCE_DATE_EPOCH,
            "now",
            "SOURCE_DATE_EPOCH=now: it takes seconds since 1970, up to 4294967295",
        ),
    ] {
        assert_eq!(settings("", &[(variable, value)]).unwrap_err(), error);
    }
}

/// A host that nobody can be is not passed over, and what may be a password is not shown.
#[test]
fn registries_and_their_mirrors_are_hosts() {
    let of_file = |text: &str| settings(&format!("[registries]\n\n{text}\n"), &[]);
    for (text, problem) in [
        ("mirrors = { A = ['http://h'] }", "mirrors: \"http://h\" is no HOST[:PORT][/PATH]"),
        ("mirrors = { A = [''] }", "mirrors: \"\" is no HOST[:PORT][/PATH]"),
        ("mirrors = { A = ['h', 'bad host'] }", "mirrors: \"bad host\" is no HOST[:PORT][/PATH]"),
        ("mirrors = { A = ['h:910000'] }", "mirrors: \"h:910000\" is no HOST[:PORT][/PATH]"),
        (
            "mirrors = { A = ['user:SECRET@h'] }",
            "mirrors: \"***@h\" is no HOST[:PORT][/PATH]: a password's place is .credentials",
        ),
        ("mirrors = { 'http://A' = ['h'] }", "mirrors: \"http://A\" is no HOST[:PORT]"),
        ("mirrors = { 'A/one' = [] }", "mirrors: \"A/one\" is no HOST[:PORT]"),
        ("http = ['http://A']", "http: \"http://A\" is no HOST[:PORT]"),
        ("http = ['A ']", "http: \"A \" is no HOST[:PORT]"),
    ] {
        assert_eq!(of_file(text).unwrap_err(), format!("/p.toml:3: {problem}"));
    }
    for (variable, value, error) in [
        (
            v::REGISTRY_MIRRORS,
            "A=h,A=http://user:SECRET@h",
            "***@h: \"***@h\" is no HOST[:PORT][/PATH]: a password's place is .credentials",
        ),
        (v::REGISTRY_MIRRORS, "u:SECRET@h", "***@h: it takes HOST=PLACE[,HOST=PLACE...]"),
        (v::REGISTRY_MIRRORS, "A/one=h", "A/one=h: \"A/one\" is no HOST[:PORT]"),
        (v::REGISTRY_MIRRORS, "A=", "A=: \"\" is no HOST[:PORT][/PATH]"),
        (v::HTTP_REGISTRIES, "A,http://B", "A,http://B: \"http://B\" is no HOST[:PORT]"),
    ] {
        let error = format!("{variable}={error}");
        assert_eq!(settings("", &[(variable, value)]).unwrap_err(), error);
    }
    let text = "mirrors = { 'A/' = ['h:9100/', 'h:9100/proxy/hub', '[::1]:5000'] }\nhttp = ['A/']";
    let said_so = of_file(text).unwrap();
    let mirrors = said(&said_so, v::REGISTRY_MIRRORS).unwrap();
    assert_eq!(mirrors, "A=h:9100,A=h:9100/proxy/hub,A=[::1]:5000");
    assert_eq!(said(&said_so, v::HTTP_REGISTRIES).unwrap(), "A");
}

#[test]
fn a_library_that_went_with_enroot_is_not_missed() {
    let library = tempfile::tempdir().unwrap();
    let path = library.path().to_str().unwrap();
    let found = || settings("", &[(v::LIBRARY_PATH, path)]).unwrap().folders.library;
    assert_eq!(found(), None);
    std::fs::write(library.path().join("common.sh"), "").unwrap();
    assert_eq!(found(), Some(path.into()));
}

#[test]
fn credentials_are_also_where_clouds_put_them() {
    let home = tempfile::tempdir().unwrap();
    let path = |below: &str| home.path().join(below);
    let netrc = |more: &[(&str, &str)]| {
        let variables = [&[(v::HOME, home.path().to_str().unwrap())], more].concat();
        settings("", &variables).unwrap().credentials.netrc
    };
    let usual = path(".config/enroot/.credentials");
    assert_eq!(netrc(&[]), Some(usual.clone()));
    for below in [".enroot", ".config/enroot"] {
        std::fs::create_dir_all(path(below)).unwrap();
    }
    std::fs::write(path(".enroot/.credentials"), "").unwrap();
    assert_eq!(netrc(&[]), Some(path(".enroot/.credentials")));
    assert_eq!(netrc(&[(v::CONFIG_PATH, "/c")]), Some("/c/.credentials".into()));
    std::fs::write(&usual, "").unwrap();
    assert_eq!(netrc(&[]), Some(usual));
}

/// A value of each kind, that both a file and a variable can say.
fn value_of(kind: Kind) -> BoxedStrategy<Value> {
    let (word, host) =
        ("[a-z0-9.-]{1,12}", "[a-z0-9]([a-z0-9.-]{0,9}[a-z0-9])?(:[1-9][0-9]{0,3})?");
    let path = || "(/[a-z0-9 _%\"'.-]{1,8}){1,3}".prop_map(PathBuf::from);
    match kind {
        Kind::Path => path().prop_map(Value::Path).boxed(),
        Kind::Paths => prop::collection::vec(path(), 1..4).prop_map(Value::Paths).boxed(),
        Kind::Bool => any::<bool>().prop_map(Value::Bool).boxed(),
        Kind::Number | Kind::Size => (0..u64::from(u32::MAX)).prop_map(Value::Number).boxed(),
        Kind::Seconds => (0..u64::from(u32::MAX))
            .prop_map(Duration::from_millis)
            .prop_map(Value::Seconds)
            .boxed(),
        Kind::Text => "[ -~]{1,20}".prop_map(Value::Text).boxed(),
        Kind::Policy => {
            prop::sample::select(vec![PullPolicy::Always, PullPolicy::Missing, PullPolicy::Never])
                .prop_map(Value::Policy)
                .boxed()
        }
        Kind::Packing => {
            prop::sample::select(vec![Packing::Speed, Packing::Balanced, Packing::Size])
                .prop_map(Value::Packing)
                .boxed()
        }
        Kind::Words => prop::collection::vec(word, 1..4).prop_map(Value::Words).boxed(),
        Kind::Hosts => prop::collection::vec(host, 1..4).prop_map(Value::Words).boxed(),
        Kind::Mirrors => (host, prop::collection::vec(host, 1..4))
            .prop_map(|(name, items)| {
                Value::Lists(items.into_iter().map(|item| (name.clone(), item)).collect())
            })
            .boxed(),
    }
}

/// A setting by its place in the table, and a value for it.
fn said_somewhere() -> impl Strategy<Value = (usize, Value)> {
    // Stores that a file names are not used unless they are root's, and these are nobody's.
    let any = |at: &usize| ![v::STORE_SHARED, v::STORE_LOWER].contains(&SETTINGS[*at].variable);
    (0..SETTINGS.len())
        .prop_filter("a store of a file's", any)
        .prop_flat_map(|at| value_of(SETTINGS[at].kind).prop_map(move |value| (at, value)))
}

proptest! {
    #[test]
    fn a_file_and_a_variable_mean_the_same((at, value) in said_somewhere()) {
        let setting = &SETTINGS[at];
        let literal = value.to_toml().replace('%', "%%");
        let literal = if matches!(setting.kind, Kind::Path | Kind::Paths) { literal } else { value.to_toml() };
        let file = format!("[{}]\n{} = {literal}\n", setting.section, setting.key);
        let by_file = settings(&file, &[(v::HOME, "/h")]).unwrap();
        let text = value.to_text().into_string().unwrap();
        let by_variable = settings("", &[(v::HOME, "/h"), (setting.variable, &text)]).unwrap();
        let all = |settings: &Settings| -> Vec<_> {
            settings.resolved.all().map(|(_, value, _)| value.cloned()).collect()
        };
        prop_assert_eq!(all(&by_file), all(&by_variable));
        prop_assert_eq!(&all(&by_file)[at], &Some(value));
        // The parts that are handed down, too.
        let parts = |s: &Settings| format!(
            "{:?}{:?}{:?}{:?}{:?}{:?}{:?}{:?}{:?}", s.container, s.folders, s.devices, s.squash, s.store,
            s.registries, s.credentials, s.pull_policy, s.max_unpacked);
        prop_assert_eq!(parts(&by_file), parts(&by_variable));
        prop_assert_eq!(&by_file.paths.data, &by_variable.paths.data);
    }

    #[test]
    fn no_text_panics(text in ".{0,120}", key in "[a-z_]{1,10}") {
        let _ = settings(&text, &[]);
        let _ = settings(&format!("[paths]\n{key} = {text}"), &[]);
    }
}

/// What a node was told for enroot, in enroot.conf alone.
fn told(line: &str) -> Settings {
    let path = Path::new("/etc/enroot/enroot.conf");
    let conf = EnrootConf::parse(format!("{line}\n").as_bytes(), path, &environ(&[]), &user());
    let settings = Settings::new(environ(&[(v::HOME, "/h")]), conf, None).unwrap();
    assert_eq!(settings.enroot.remarks, [], "{line}");
    settings
}

#[test]
#[expect(clippy::too_many_lines, reason = "a table")]
fn every_key_of_enroot_conf_arrives_where_it_is_used() {
    let library = tempfile::tempdir().unwrap();
    std::fs::write(library.path().join("common.sh"), "").unwrap();
    let library = format!("ENROOT_LIBRARY_PATH {}", library.path().display());
    type Arrived = fn(&Settings) -> bool;
    let path = Path::new("/p");
    assert_eq!(told("ENROOT_SYSCONF_PATH /p").sysconf, path);
    let all: &[(&str, Arrived)] = &[
        ("ENROOT_DATA_PATH /p", |s| s.paths.data == Some("/p".into())),
        ("ENROOT_CACHE_PATH /p", |s| s.store.as_ref().unwrap().path == Path::new("/p/pyxis")),
        ("ENROOT_RUNTIME_PATH /p", |s| s.paths.runtime == ("/p".into(), true)),
        ("ENROOT_TEMP_PATH /p", |s| s.paths.temp == Path::new("/p")),
        ("ENROOT_CONFIG_PATH /p", |s| {
            s.credentials.netrc == Some("/p/.credentials".into())
                && s.folders.hooks.last() == Some(&"/p/hooks.d".into())
                && s.folders.mounts.last() == Some(&"/p/mounts.d".into())
                && s.folders.environ.last() == Some(&"/p/environ.d".into())
        }),
        (&library, |s| s.folders.library.is_some()),
        ("ENROOT_SQUASH_OPTIONS -comp lz4 -noD", |s| {
            said(s, v::SQUASH_OPTIONS).unwrap() == "-comp lz4 -noD" && s.squash.check().is_ok()
        }),
        ("ENROOT_MAX_PROCESSORS 7", |s| s.squash.program.processors() == 7),
        ("ENROOT_ROOTFS_WRITABLE yes", |s| s.container.writable),
        ("ENROOT_REMAP_ROOT y", |s| s.container.remap_root),
        ("ENROOT_MOUNT_HOME true", |s| s.container.mount_home),
        ("ENROOT_RESTRICT_DEV 1", |s| s.container.restrict_dev),
        ("ENROOT_NATIVE_OVERLAYFS no", |s| !s.container.native_overlayfs),
        ("ENROOT_LOGIN_SHELL no", |s| s.container.login_shell == Some(false)),
        ("ENROOT_LOGIN_SHELL yes", |s| s.container.login_shell == Some(true)),
        ("ENROOT_UNSHARE_PID yes", |s| s.container.unshare.pid),
        ("ENROOT_UNSHARE_NET yes", |s| s.container.unshare.net),
        ("ENROOT_UNSHARE_IPC yes", |s| s.container.unshare.ipc),
        ("ENROOT_UNSHARE_UTS yes", |s| s.container.unshare.uts),
        ("ENROOT_ALLOW_SUPERUSER yes", |s| s.container.allow_superuser),
        ("ENROOT_FORCE_OVERRIDE yes", |s| s.force),
        ("ENROOT_ALLOW_HTTP yes", |s| s.registries.allow_http),
        ("ENROOT_MAX_CONNECTIONS 3", |s| s.registries.connections == 3),
        ("ENROOT_CONNECT_TIMEOUT 5", |s| {
            s.registries.connect_timeout == Some(Duration::from_secs(5))
        }),
        ("ENROOT_CONNECT_TIMEOUT 1.5", |s| {
            s.registries.connect_timeout == Some(Duration::from_millis(1500))
        }),
        ("ENROOT_TRANSFER_TIMEOUT 6", |s| {
            s.registries.transfer_timeout == Some(Duration::from_secs(6))
        }),
        ("ENROOT_TRANSFER_RETRIES 9", |s| s.registries.retries == 9),
        ("http_proxy http://h:1", |s| {
            shown(&s.registries.proxies).contains("http true, https false")
        }),
        ("https_proxy http://h:1", |s| {
            shown(&s.registries.proxies).contains("http false, https true")
        }),
        ("all_proxy http://h:1", |s| {
            shown(&s.registries.proxies).contains("http true, https true")
        }),
        ("no_proxy example.org", |s| shown(&s.registries.proxies).contains("example")),
        ("SSL_CERT_FILE /p", |s| s.registries.authorities != Authorities::default()),
        ("SSL_CERT_DIR /p", |s| s.registries.authorities != Authorities::default()),
        ("NVIDIA_VISIBLE_DEVICES 1", |s| {
            s.of_enroot.contains(OsStr::new("NVIDIA_VISIBLE_DEVICES"))
        }),
        ("MELLANOX_VISIBLE_DEVICES all", |s| {
            s.of_enroot.contains(OsStr::new("MELLANOX_VISIBLE_DEVICES"))
        }),
    ];
    let nothing = told("# nothing");
    for (line, arrived) in all {
        assert!(arrived(&told(line)), "{line}");
        // Hence it is that line's doing.
        assert!(!arrived(&nothing), "{line}");
    }
    // None is left out, of those that do something.
    let known = SETTINGS.iter().map(|setting| setting.variable);
    for variable in known.filter(|variable| variable.starts_with("ENROOT_")) {
        let is_there = variable == v::SYSCONF_PATH
            || all.iter().any(|(line, _)| line.split(' ').next() == Some(variable));
        assert!(is_there, "{variable}");
    }
}

#[test]
fn the_file_that_recipes_edit_says_nothing_by_itself_and_has_every_setting() {
    let text = include_str!("../../../../packaging/enroot/share/enroot.conf");
    let path = Path::new("/etc/enroot/enroot.conf");
    let read = |text: &str| {
        // Without such, enroot ends at these lines.
        let bases = ["RUNTIME_DIR", "CONFIG_HOME", "CACHE_HOME", "DATA_HOME"];
        let bases = bases.map(|base| (format!("XDG_{base}").into(), format!("/{base}").into()));
        let environ = bases.into_iter().chain(environ(&[(v::HOME, "/h")])).collect();
        let conf = EnrootConf::parse(text.as_bytes(), path, &environ, &user());
        assert_eq!(conf.remarks, []);
        assert_eq!(conf.for_shell, None);
        conf
    };
    assert!(read(text).variables.is_empty());
    // As sites' scripts look for a line, by its beginning or as a whole.
    assert!(text.contains("\n#ENROOT_RUNTIME_PATH        ${XDG_RUNTIME_DIR}/enroot\n"));
    let lines: Vec<(&str, &str)> = text
        .lines()
        .filter_map(|line| line.strip_prefix('#').filter(|line| !line.starts_with(' ')))
        .map(|line| line.split_once(' ').unwrap_or((line, "")))
        .map(|(name, value)| (name, value.trim_start()))
        .collect();
    let of_enroot = ["ENROOT_GZIP_PROGRAM", "ENROOT_ZSTD_OPTIONS", "ENROOT_BUNDLE_ALL"];
    let rest = ["ENROOT_BUNDLE_CHECKSUM", "SSL_CERT_DIR", "SSL_CERT_FILE", "http_proxy"];
    let proxies = ["https_proxy", "all_proxy", "no_proxy"];
    let known = SETTINGS.iter().map(|setting| setting.variable);
    let known = known.filter(|variable| variable.starts_with("ENROOT_"));
    for variable in known.chain(of_enroot).chain(rest).chain(proxies) {
        let found = lines.iter().filter(|(name, _)| *name == variable).count();
        assert_eq!(found, 1, "{variable}");
    }
    let with_values: String = lines
        .iter()
        .filter(|(_, value)| !value.is_empty() && *value != "$(nproc)")
        .map(|(name, value)| format!("{name} {value}\n"))
        .collect();
    let settings = Settings::new(environ(&[(v::HOME, "/h")]), read(&with_values), None).unwrap();
    assert_eq!(settings.paths.data, Some("/DATA_HOME/enroot".into()));
    assert_eq!(settings.paths.runtime.0, Path::new("/RUNTIME_DIR/enroot"));
}

fn shown(value: &impl std::fmt::Debug) -> String {
    format!("{value:?}")
}
