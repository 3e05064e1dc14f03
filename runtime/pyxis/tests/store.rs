//! The image store: what is kept, what is collected, and who is given what.

mod fixtures;

use std::fs::{self, File};
use std::os::unix::fs::{MetadataExt, PermissionsExt};
use std::path::Path;
use std::process::Stdio;
use std::time::{Duration, SystemTime};

use fixtures::{Image, Layer, Place, Registry, noise, text};
use images::store::mark_use;
use images::tarball::Kind;

fn image(name: &str) -> Image {
    let content = noise(u32::from(name.as_bytes()[0]), 1 << 20);
    Image::new(&[Layer::new().entry(name.as_bytes(), Kind::File, 0o644, &content).gzip()])
}

/// Makes what was used just now look as if that was so long ago.
fn age(store: &Path, seconds: u64) {
    let then = SystemTime::now() - Duration::from_secs(seconds);
    let mut todo = vec![store.to_owned()];
    while let Some(directory) = todo.pop() {
        for entry in fs::read_dir(directory).unwrap() {
            let path = entry.unwrap().path();
            if path.is_dir() {
                todo.push(path);
                continue;
            }
            let used = fs::metadata(&path).unwrap().modified().unwrap();
            let is_new = used.elapsed().unwrap_or_default() < Duration::from_secs(1000);
            if is_new && path.extension().is_none_or(|extension| extension != "sqsh") {
                File::open(path).unwrap().set_modified(then).unwrap();
            }
        }
    }
}

fn names(place: &Place, below: &str) -> Vec<String> {
    let entries = fs::read_dir(place.path("store").join(below)).unwrap();
    let mut names: Vec<String> =
        entries.map(|entry| entry.unwrap().file_name().into_string().unwrap()).collect();
    names.sort();
    names
}

#[test]
fn what_was_not_used_for_the_longest_time_goes_first_and_what_is_in_use_stays() {
    let (place, registry) = (Place::new(), Registry::start());
    let mut paths = Vec::new();
    for (at, name) in ["a", "b", "c"].into_iter().enumerate() {
        let uri = registry.push(&image(name), &format!("{name}:1"));
        paths.push(place.ok(&["pull", &uri]).trim().to_owned());
        age(&place.path("store"), 10_000 - 100 * at as u64);
    }
    assert_eq!(place.ok(&["gc"]), "", "there is room for all");

    // The oldest is in use, as by a started container.
    let held = File::open(&paths[0]).unwrap();
    mark_use(Path::new(&paths[0]), &held);
    let would = place.ok(&["gc", "-n", "--max-size", "3500000"]);
    assert!(would.contains("blobs/") && names(&place, "images").len() == 6);
    place.ok(&["gc", "--max-size", "3500000"]);
    assert!(Path::new(&paths[0]).exists() && !Path::new(&paths[1]).exists());
    assert!(Path::new(&paths[2]).exists());
    place.ok(&["gc", "--all"]);
    assert!(Path::new(&paths[0]).exists() && !Path::new(&paths[2]).exists());
    drop(held);
    place.ok(&["gc", "--all"]);
    assert!(names(&place, "images").is_empty() && names(&place, "blobs").is_empty());
}

/// What it unpacks to is a word of whoever made it, and others' images are not removed for that.
#[test]
fn an_image_of_zeros_takes_no_more_room_than_it_needs() {
    let (mut place, registry) = (Place::new(), Registry::start());
    place.set("PYXIS_STORE_MAX_BYTES", "12000000");
    let pull = |image: &Image, name: &str| place.ok(&["pull", &registry.push(image, name)]);
    let old: Vec<_> = ["a", "b"].map(|name| pull(&image(name), &format!("{name}:1"))).into();
    age(&place.path("store"), 10_000);
    let are_there = || old.iter().filter(|path| Path::new(path.trim()).exists()).count();
    let of =
        |content: &[u8]| Image::new(&[Layer::new().entry(b"f", Kind::File, 0o644, content).gzip()]);
    pull(&of(&vec![0; 100 << 20]), "zeros:1");
    assert_eq!(are_there(), 2);
    // What needs room gets it, of what was not used for the longest time.
    pull(&of(&noise(7, 5 << 20)), "noise:1");
    assert!(are_there() < 2);
}

/// What a scheduler asks a node for.
#[test]
fn images_are_listed_for_programs() {
    let (mut place, registry) = (Place::new(), Registry::start());
    // Whatever this machine has in the usual place.
    place.set("PYXIS_STORE_SHARED", "/nonexistent");
    assert_eq!(place.ok(&["images", "--json"]), "[]\n");
    let made = image("a");
    let path = place.ok(&["pull", &registry.push(&made, "a:1")]);
    let text = place.ok(&["images", "--json"]);
    assert_eq!(text.lines().count(), 1);
    let list: serde_json::Value = serde_json::from_str(&text).unwrap();
    let [image] = list.as_array().unwrap().as_slice() else { panic!("{text}") };
    assert_eq!(image["digest"], made.digest());
    assert_eq!(image["size"], fs::metadata(path.trim()).unwrap().len());
    assert_eq!(image["layers"], serde_json::json!([format!("sha256:{}", made.layers[0])]));
    assert_eq!(image["private"], false);
    assert!(image["origin"].as_str().unwrap().ends_with("a:1"), "{text}");
    let now = SystemTime::now().duration_since(SystemTime::UNIX_EPOCH).unwrap().as_secs();
    for time in ["created", "used"] {
        assert!((now - 600..=now).contains(&image[time].as_u64().unwrap()), "{text}");
    }
}

/// The stores of an image, as programs are told, by the file name of its directory's parent.
fn stores_of(text: &str) -> Vec<(String, String)> {
    let list: serde_json::Value = serde_json::from_str(text).unwrap();
    let of = |image: &serde_json::Value, key: &str| image[key].as_str().unwrap().to_owned();
    list.as_array().unwrap().iter().map(|image| (of(image, "digest"), of(image, "store"))).collect()
}

#[test]
fn images_of_stores_that_are_only_read_are_listed_with_their_stores() {
    let (mut user, shared, lower, registry) =
        (Place::new(), Place::new(), Place::new(), Registry::start());
    let mut expected = Vec::new();
    for (place, name) in [(&user, "a"), (&shared, "b"), (&lower, "c")] {
        place.ok(&["pull", &registry.push(&image(name), &format!("{name}:1"))]);
        expected.push((image(name).digest(), place.path("store").to_str().unwrap().to_owned()));
    }
    user.set("PYXIS_STORE_SHARED", &expected[1].1);
    user.set("PYXIS_STORE_LOWER", &expected[2].1);
    assert_eq!(stores_of(&user.ok(&["images", "--json"])), expected);
    let table = user.ok(&["images"]);
    let below = format!("{}, only read:", expected[1].1);
    assert!(table.lines().any(|line| line == below), "{table}");
    // One that is not there is none, and nothing is made.
    fs::remove_dir_all(shared.path("store")).unwrap();
    expected.remove(1);
    assert_eq!(stores_of(&user.ok(&["images", "--json"])), expected);
    assert!(!shared.path("store").exists());
    fs::remove_dir_all(lower.path("store/images")).unwrap();
    let output = user.run(&["images", "--json"]);
    assert_eq!(stores_of(&text(&output.stdout)), expected[..1]);
    assert!(text(&output.stderr).contains("cannot list"), "{output:?}");
    assert!(!lower.path("store/images").exists());
}

/// As when the shared store is named for one's own.
#[test]
#[ignore = "needs root, to give a store away"]
fn a_store_of_somebody_else_is_listed_and_not_used() {
    let (mut place, registry) = (Place::new(), Registry::start());
    place.set("PYXIS_STORE_SHARED", "/nonexistent");
    place.ok(&["pull", &registry.push(&image("a"), "a:1")]);
    let store = place.path("store");
    std::os::unix::fs::chown(&store, Some(4242), None).unwrap();
    let expected = [(image("a").digest(), store.to_str().unwrap().to_owned())];
    assert_eq!(stores_of(&place.ok(&["images", "--json"])), expected);
    assert!(place.fails(&["gc", "--all"]).contains("belongs to user id 4242"));
    fs::remove_dir_all(store.join("images")).unwrap();
    assert!(place.fails(&["images", "--json"]).contains("belongs to user id 4242"));
}

#[test]
fn what_was_just_used_is_not_collected() {
    let (place, registry) = (Place::new(), Registry::start());
    let path = place.ok(&["pull", &registry.push(&image("a"), "a:1")]);
    place.ok(&["gc", "--max-size", "0"]);
    assert!(Path::new(path.trim()).exists());
}

#[test]
fn nothing_is_left_of_a_pull_that_was_killed() {
    let (place, registry) = (Place::new(), Registry::start());
    let uri = registry.push(&image("a"), "a:1");
    for wait in [0, 5, 15, 30, 60] {
        let mut child = place
            .command(&["pull", &uri])
            .stdout(Stdio::null())
            .stderr(Stdio::null())
            .spawn()
            .unwrap();
        std::thread::sleep(Duration::from_millis(wait));
        let _ = child.kill();
        child.wait().unwrap();
        // The next one does not wait for the dead.
        let path = place.ok(&["pull", &uri]);
        fs::remove_file(path.trim()).unwrap();
    }
    let path = place.ok(&["pull", &uri]);
    // As after a power cut: files of another boot, a lock, a half-written image and record.
    fs::write(place.path("store/tmp/.pyxis-gone-1-0-0"), "partial").unwrap();
    fs::create_dir(place.path("store/tmp/.pyxis-gone-2-0-0")).unwrap();
    let lock = format!("store/locks/blob-{}", "2".repeat(64));
    fs::write(place.path(&lock), "gone boot pid:[1] 1 1 0").unwrap();
    let half = format!("store/images/{}.sqsh", "1".repeat(64));
    fs::write(place.path(&half), "").unwrap();
    let old = SystemTime::now() - Duration::from_secs(100_000);
    for below in ["tmp", "locks", "images"] {
        for name in names(&place, below) {
            if !path.contains(name.trim_end_matches(".json")) {
                let file = File::open(place.path("store").join(below).join(name)).unwrap();
                file.set_modified(old).unwrap();
            }
        }
    }
    place.ok(&["gc"]);
    place.assert_clean();
    assert_eq!(names(&place, "images").len(), 2);
    assert_eq!(place.ok(&["pull", "--policy", "never", &uri]), path);
}

/// Twice at once, killed at whatever moment, as often as a test may take: the collector leaves
/// whole images and nothing else.
#[test]
fn whenever_it_is_killed_the_collector_leaves_what_is_wanted() {
    let (place, registry) = (Place::new(), Registry::start());
    let uris: Vec<String> =
        ["a", "b"].iter().map(|name| registry.push(&image(name), &format!("{name}:1"))).collect();
    let begin = std::time::Instant::now();
    place.ok(&["pull", &uris[0]]);
    let whole = begin.elapsed().as_millis() as u32;
    fs::remove_dir_all(place.path("store")).unwrap();
    let moments = noise(std::process::id(), 12);
    for (at, moment) in moments.iter().enumerate() {
        let mut children: Vec<_> = [0, 1, at % 2]
            .iter()
            .map(|uri| {
                let mut command = place.command(&["pull", &uris[*uri]]);
                command.stdout(Stdio::null()).stderr(Stdio::null()).spawn().unwrap()
            })
            .collect();
        std::thread::sleep(Duration::from_millis(u64::from(whole * u32::from(*moment) / 200)));
        for child in &mut children {
            let _ = child.kill();
            child.wait().unwrap();
        }
        place.ok(&["gc"]);
        place.assert_clean();
        for name in names(&place, "images").iter().filter(|name| name.ends_with(".sqsh")) {
            place.unpack(&format!("store/images/{name}"), &format!("unpacked-{at}-{name}"));
        }
    }
    for uri in &uris {
        place.ok(&["pull", uri]);
    }
    assert_eq!(names(&place, "images").len(), 4);
}

#[test]
fn collecting_and_pulling_at_once_is_safe() {
    let (place, registry) = (Place::new(), Registry::start());
    let uri = registry.push(&image("a"), "a:1");
    std::thread::scope(|scope| {
        for _ in 0..2 {
            scope.spawn(|| (0..10).for_each(|_| drop(place.ok(&["gc", "--all"]))));
        }
        for at in 0..2 {
            let (place, uri) = (&place, &uri);
            scope.spawn(move || {
                for round in 0..8 {
                    let name = format!("{at}-{round}.sqsh");
                    place.ok(&["import", "-o", &name, uri]);
                    assert!(fs::metadata(place.path(&name)).unwrap().len() > 100_000);
                }
            });
        }
    });
    place.assert_clean();
}

#[test]
fn an_image_pulled_with_credentials_is_given_to_who_has_some() {
    let (admin, registry) = (Place::new(), Registry::private());
    let image = image("secret");
    let uri = registry.push(&image, "a:1");
    let login = |place: &Place, password: &str| {
        let config = place.path("home/.config/enroot");
        fs::create_dir_all(&config).unwrap();
        let line = format!("machine {} login user password {password}\n", registry.host);
        fs::write(config.join(".credentials"), line).unwrap();
    };
    login(&admin, "secret");
    let path = admin.ok(&["pull", &uri]);

    let mut user = Place::new();
    user.set("PYXIS_STORE_LOWER", admin.path("store").to_str().unwrap());
    let by_digest = format!("docker://{}/a@{}", registry.host, image.digest());
    for uri in [&uri, &by_digest] {
        let error = user.fails(&["pull", uri]);
        assert!(error.contains("denies access to a: "), "{error}");
    }
    login(&user, "wrong");
    let error = user.fails(&["pull", &by_digest]);
    assert!(error.contains("your credentials do not allow it"), "{error}");
    login(&user, "secret");
    // Another registry that says yes to everything, or has the same manifest, opens nothing.
    let other = Registry::start();
    let copy = other.push(&image, "a:1");
    let own = user.ok(&["pull", &copy]);
    assert_ne!(own, path, "from a registry that anybody could have set up");
    assert_eq!(other.requests(&image.layers[0]), 1);
    fs::remove_dir_all(user.path("store")).unwrap();

    let blobs = registry.requests("/blobs/");
    assert_eq!(user.ok(&["pull", &by_digest]), path);
    assert_eq!(user.ok(&["pull", &uri]), path);
    assert_eq!(registry.requests("/blobs/"), blobs, "it was there already");
}

#[test]
fn a_store_for_all_users_shows_what_took_no_credentials() {
    let (place, open, private) = (Place::new(), Registry::start(), Registry::private());
    let store = place.path("store");
    fs::create_dir(&store).unwrap();
    fs::set_permissions(&store, fs::Permissions::from_mode(0o755)).unwrap();
    let (public, secret) = (image("p"), image("s"));
    let config = place.path("home/.config/enroot");
    fs::create_dir_all(&config).unwrap();
    fs::write(
        config.join(".credentials"),
        format!("machine {} login user password secret\n", private.host),
    )
    .unwrap();
    place.ok(&["pull", &open.push(&public, "a:1")]);
    place.ok(&["pull", &private.push(&secret, "a:1")]);
    let mode = |below: String| {
        fs::metadata(store.join(below)).map(|data| data.permissions().mode() & 0o7777).ok()
    };
    let hex = |image: &Image| image.digest().replace("sha256:", "");
    for (below, wanted) in [
        (format!("images/{}.sqsh", hex(&public)), Some(0o444)),
        (format!("images/{}.json", hex(&public)), Some(0o644)),
        (format!("blobs/{}", public.layers[0]), Some(0o444)),
        (format!("images/{}.sqsh", hex(&secret)), Some(0o400)),
        (format!("images/{}.json", hex(&secret)), Some(0o600)),
        // Anybody could have an image made of it.
        (format!("blobs/{}", secret.layers[0]), None),
        ("images".into(), Some(0o755)),
        ("blobs".into(), Some(0o755)),
        ("tmp".into(), Some(0o700)),
        ("locks".into(), Some(0o700)),
        // Locks reach everybody here, so that nobody has a lease.
        ("uses".into(), Some(0o700)),
    ] {
        assert_eq!(mode(below.clone()), wanted, "{below}");
    }
    // As earlier versions have left it, with what nobody counts.
    let (uses, theirs) = (store.join("uses"), store.join("uses/large"));
    fs::write(&theirs, "x").unwrap();
    std::os::unix::fs::chown(&theirs, Some(4242), None).expect("root runs this");
    fs::set_permissions(&uses, fs::Permissions::from_mode(0o1777)).unwrap();
    place.ok(&["images"]);
    assert_eq!(mode("uses".into()), Some(0o700));
    assert!(!theirs.exists());
}

/// In a container, for example, which shares the store.
#[test]
fn the_collector_leaves_what_another_process_namespace_writes() {
    let mut place = Place::new();
    image("a").layout(&place.path("layout"), "v1");
    // mksquashfs is given a directory in the store, and time.
    place.set("ENROOT_SQUASH_OPTIONS", "-comp gzip");
    let script = "#!/bin/sh\ncase \"$*\" in\n\
        -version) echo 'mksquashfs version 4.3 (2014/05/12)' ;;\n\
        *) >begun; until [ -e go ] || [ ! -e begun ]; do sleep 0.02; done; exec /usr/bin/mksquashfs \"$@\" ;;\nesac\n";
    fs::write(place.path("mksquashfs"), script).unwrap();
    fs::set_permissions(place.path("mksquashfs"), fs::Permissions::from_mode(0o755)).unwrap();
    place.set("PATH", &format!("{}:/usr/sbin:/usr/bin:/bin", place.path("").display()));
    let import = place
        .command(&["import", "-o", "a.sqsh", "oci:layout:v1"])
        .stderr(Stdio::piped())
        .spawn()
        .unwrap();
    let begin = std::time::Instant::now();
    while !place.path("begun").exists() {
        assert!(begin.elapsed() < Duration::from_secs(60));
        std::thread::sleep(Duration::from_millis(10));
    }
    let collect = |options: &[&str]| {
        let gc = place.command(&["gc"]);
        let mut command = std::process::Command::new("unshare");
        command.args(["--map-root-user", "--user", "--pid", "--fork"]).args(options);
        command.arg(gc.get_program()).args(gc.get_args()).current_dir(place.path(""));
        command.env_clear().envs(gc.get_envs().filter_map(|(name, value)| Some((name, value?))));
        let done = command.output().unwrap();
        assert!(done.status.success(), "{done:?}");
        assert_eq!(names(&place, "tmp").len(), 1, "{options:?}");
    };
    collect(&["--mount-proc"]);
    // With a /proc of others' numbers, nothing can be told.
    collect(&[]);
    place.ok(&["gc"]);
    assert_eq!(names(&place, "tmp").len(), 1);
    fs::write(place.path("go"), "").unwrap();
    let done = import.wait_with_output().unwrap();
    assert!(done.status.success(), "{done:?}");

    // Here it is noticed at once that the maker is gone.
    fs::remove_dir_all(place.path("store")).unwrap();
    for file in ["begun", "go", "a.sqsh"] {
        fs::remove_file(place.path(file)).unwrap();
    }
    let mut import = place.command(&["import", "-o", "a.sqsh", "oci:layout:v1"]).spawn().unwrap();
    let begin = std::time::Instant::now();
    while !place.path("begun").exists() {
        assert!(begin.elapsed() < Duration::from_secs(60));
        std::thread::sleep(Duration::from_millis(10));
    }
    import.kill().unwrap();
    import.wait().unwrap();
    assert_eq!(names(&place, "tmp").len(), 1);
    place.ok(&["gc"]);
    assert_eq!(names(&place, "tmp").len(), 0);
    fs::write(place.path("go"), "").unwrap();
}

#[test]
fn an_imported_file_is_for_those_whom_the_umask_lets() {
    let (place, registry) = (Place::new(), Registry::start());
    let uri = registry.push(&image("a"), "a:1");
    let import = |umask: &str, output: &str, from: &str| {
        let import = place.command(&["import", "-o", output, from]);
        let mut command = std::process::Command::new("sh");
        command.args(["-c", "umask $0; exec \"$@\"", umask]);
        command.arg(import.get_program()).args(import.get_args()).current_dir(place.path(""));
        command
            .env_clear()
            .envs(import.get_envs().filter_map(|(name, value)| Some((name, value?))));
        let done = command.output().unwrap();
        assert!(done.status.success(), "{done:?}");
        let data = fs::metadata(place.path(output)).unwrap();
        (data.mode() & 0o777, data.nlink() > 1)
    };
    // The store's own file is what the first import has linked.
    assert_eq!(import("022", "a.sqsh", &uri), (0o444, true));
    assert_eq!(import("027", "b.sqsh", &uri), (0o640, false));
    assert_eq!(import("077", "c.sqsh", &uri), (0o600, false));
    assert_eq!(import("002", "d.sqsh", &uri), (0o444, true));
    fs::remove_dir_all(place.path("store")).unwrap();
    assert_eq!(import("077", "e.sqsh", &uri), (0o400, true));
    assert_eq!(import("022", "f.sqsh", &uri), (0o400, true));
    let bytes = |name: &str| fs::read(place.path(name)).unwrap();
    assert!(["b", "c", "e"].iter().all(|name| bytes(&format!("{name}.sqsh")) == bytes("a.sqsh")));
    // On another file system.
    let other = tempfile::tempdir_in("/dev/shm").unwrap();
    let output = other.path().join("g.sqsh");
    assert_eq!(import("027", output.to_str().unwrap(), &uri), (0o640, false));
}

#[test]
fn what_stands_for_ones_own_directory_is_looked_at() {
    let place = Place::new();
    let store = place.path("store");
    fs::create_dir(&store).unwrap();
    fs::set_permissions(&store, fs::Permissions::from_mode(0o1777)).unwrap();
    let elsewhere = place.path("elsewhere");
    fs::create_dir(&elsewhere).unwrap();
    std::os::unix::fs::symlink(&elsewhere, store.join(nix::unistd::geteuid().to_string())).unwrap();
    let output = place.run(&["images"]);
    let said = text(&output.stderr);
    assert!(output.status.success(), "{said}");
    assert!(
        said.contains("[WARN] the image store") && said.contains("belongs to user id"),
        "{said}"
    );
    let own = place.path("home/.cache/pyxis");
    assert!(said.contains(&format!("{} is used instead", own.display())), "{said}");
    assert!(own.join("images").is_dir());
    assert_eq!(fs::read_dir(elsewhere).unwrap().count(), 0);
}

/// As sites have it whose `enroot.conf` says `ENROOT_CACHE_PATH /raid/enroot-cache/group-$(id -g)`.
#[test]
fn in_a_cache_of_several_people_each_has_a_store() {
    let mut place = Place::new();
    let cache = place.path("cache");
    let taken = cache.join("pyxis");
    fs::create_dir_all(&taken).unwrap();
    std::os::unix::fs::chown(&taken, Some(65533), None).expect("this test has to be run as root");
    place.set("PYXIS_STORE_PATH", "");
    place.set("ENROOT_CACHE_PATH", cache.to_str().unwrap());
    let own = cache.join(format!("pyxis-{}", nix::unistd::geteuid()));
    for mode in [0o2770, 0o777, 0o1777] {
        fs::set_permissions(&cache, fs::Permissions::from_mode(mode)).unwrap();
        let done = place.run(&["images"]);
        assert!(done.status.success() && done.stderr.is_empty(), "{mode:o}: {done:?}");
        assert_eq!(fs::metadata(&own).unwrap().permissions().mode() & 0o777, 0o700);
        fs::remove_dir_all(&own).unwrap();
    }
    assert!(!place.path("home/.cache/pyxis").exists());
    // Nobody else could have made it there: then it is somebody's doing.
    fs::set_permissions(&cache, fs::Permissions::from_mode(0o755)).unwrap();
    let error = place.fails(&["images"]);
    assert!(error.contains("belongs to user id 65533"), "{error}");
    assert!(!own.exists());
}

/// Files are removed where it leads to.
#[test]
fn a_link_of_somebody_elses_in_a_cache_of_a_group_is_no_store() {
    let mut place = Place::new();
    let (cache, precious) = (place.path("cache"), place.path("precious"));
    for directory in [&cache, &precious.join("images")] {
        fs::create_dir_all(directory).unwrap();
    }
    fs::write(precious.join("images/photo"), "x").unwrap();
    let link = cache.join("pyxis");
    std::os::unix::fs::symlink(&precious, &link).unwrap();
    std::os::unix::fs::lchown(&link, Some(65533), None).expect("this test has to be run as root");
    place.set("PYXIS_STORE_PATH", "");
    place.set("ENROOT_CACHE_PATH", cache.to_str().unwrap());
    for mode in [0o2770, 0o3770, 0o1777] {
        fs::set_permissions(&cache, fs::Permissions::from_mode(mode)).unwrap();
        place.ok(&["gc", "--all"]);
        assert!(precious.join("images/photo").exists(), "{mode:o}");
    }
    assert_eq!(fs::read_dir(&precious).unwrap().count(), 1);
    // One of one's own is followed, as ever.
    std::os::unix::fs::lchown(&link, Some(nix::unistd::geteuid().as_raw()), None).unwrap();
    place.ok(&["images"]);
    assert!(precious.join("blobs").exists());
}

#[test]
fn a_store_of_others_is_not_trusted() {
    let mut place = Place::new();
    let mode =
        |path: &Path, mode| fs::set_permissions(path, fs::Permissions::from_mode(mode)).unwrap();
    let store = place.path("store");
    fs::create_dir(&store).unwrap();
    mode(&store, 0o777);
    let error = place.fails(&["images"]);
    assert!(error.contains("can be written by others: chmod go-w"), "{error}");
    mode(&store, 0o1777);
    place.ok(&["images"]);
    let own = store.join(nix::unistd::geteuid().to_string());
    assert_eq!(fs::metadata(own).unwrap().permissions().mode() & 0o777, 0o700);

    // A lower store that anybody could have put something into is passed over.
    let (lower, registry) = (Place::new(), Registry::start());
    let uri = registry.push(&image("a"), "a:1");
    lower.ok(&["pull", &uri]);
    mode(&lower.path("store/images"), 0o777);
    place.set("PYXIS_STORE_LOWER", lower.path("store").to_str().unwrap());
    assert!(place.ok(&["pull", &uri]).contains(place.path("store").to_str().unwrap()));
}

#[test]
#[ignore = "needs root, to give a store away"]
fn a_store_of_the_sites_file_that_a_user_has_made_first_is_not_used() {
    let (mut place, maker, registry) = (Place::new(), Place::new(), Registry::start());
    let uri = registry.push(&image("a"), "a:1");
    maker.ok(&["pull", &uri]);
    let open = place.path("open");
    fs::create_dir(&open).unwrap();
    fs::set_permissions(&open, fs::Permissions::from_mode(0o1777)).unwrap();
    let store = open.join("store");
    fs::rename(maker.path("store"), &store).unwrap();
    let give = |uid: &str| {
        let mut command = std::process::Command::new("chown");
        assert!(command.args(["-R", uid]).arg(&store).status().unwrap().success());
    };
    let config = place.path("pyxis.toml");
    fs::write(&config, format!("[store]\nshared = {store:?}\n")).unwrap();
    place.set("PYXIS_CONFIG", config.to_str().unwrap());
    // What root has made there is the site's word.
    give("0");
    assert!(place.ok(&["pull", &uri]).contains(store.to_str().unwrap()));
    give("4242");
    assert!(place.ok(&["pull", &uri]).contains(place.path("store").to_str().unwrap()));
    let output = place.command(&["images"]).output().unwrap();
    let words = text(&output.stderr);
    let expected = format!("is not used: {} belongs to uid 4242, not to root\n", store.display());
    assert!(words.ends_with(&expected), "{words}");
}
