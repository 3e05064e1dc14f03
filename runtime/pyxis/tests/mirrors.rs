//! Mirrors, and what a node's `registries.conf` says of registries, with Debian's docker-registry.

mod fixtures;

use std::fs;
use std::net::{SocketAddr, TcpListener, TcpStream};
use std::time::{Duration, Instant};

use fixtures::{Image, Layer, Place, Registry, certificates};

fn image(content: &str) -> Image {
    Image::new(&[Layer::new().file("a", content).gzip(), Layer::new().file("b", "two").gzip()])
}

/// A place whose node has this configuration.
fn place(conf: &str) -> Place {
    let mut place = Place::new();
    let path = place.path("registries.conf");
    fs::write(&path, conf).unwrap();
    place.set("CONTAINERS_REGISTRIES_CONF", path.to_str().unwrap());
    place
}

fn mirrors(registry: &str, mirrors: &[&str]) -> String {
    let mut conf = format!("[[registry]]\nlocation = \"{registry}\"\n");
    for mirror in mirrors {
        conf += &format!("[[registry.mirror]]\nlocation = \"{mirror}\"\n");
    }
    conf
}

/// A host where nobody is.
fn dead() -> String {
    TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap().to_string()
}

/// A host that does not even say no: its queue is full.
fn silent() -> (TcpListener, Vec<TcpStream>) {
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    nix::sys::socket::listen(&listener, nix::sys::socket::Backlog::new(0).unwrap()).unwrap();
    let address: SocketAddr = listener.local_addr().unwrap();
    let connect = |_| TcpStream::connect_timeout(&address, Duration::from_secs(2)).ok();
    let waiting: Vec<TcpStream> = (0..16).map_while(connect).collect();
    assert!(waiting.len() < 16, "the queue does not get full");
    (listener, waiting)
}

#[test]
fn a_cache_is_asked_first_and_those_that_are_dead_are_passed_over() {
    let origin = Registry::start();
    let cache = Registry::cache_of(&origin.host);
    let image = image("one");
    let uri = origin.push(&image, "team/a:1");
    let (silent, _waiting) = silent();
    let silent = silent.local_addr().unwrap().to_string();
    let conf = mirrors(&origin.host, &[&dead(), &silent, &cache.host]);
    let mut first = place(&conf);
    // Nobody waits as long for a mirror.
    first.set("ENROOT_CONNECT_TIMEOUT", "300");
    let start = Instant::now();
    first.ok(&["pull", &uri]);
    assert!(start.elapsed() < Duration::from_secs(250));
    let blobs = |registry: &Registry| registry.requests("/blobs/");
    // The configuration and two layers, each once.
    assert_eq!((cache.requests("/manifests/1"), blobs(&cache)), (1, 3));
    cache.wait_for_blobs("team/a", &image);
    // What the cache has it gives without the registry.
    drop(origin);
    let second = place(&conf);
    second.ok(&["pull", &uri]);
    assert_eq!(blobs(&cache), 6);
    drop(cache);
    let error = place(&conf).fails(&["pull", &uri]);
    assert!(error.contains("cannot get team/a:1 from 127.0.0.1:"), "{error}");
}

#[test]
fn what_a_mirror_lacks_comes_from_the_next() {
    let (origin, mirror) = (Registry::start(), Registry::start());
    let image = image("one");
    let uri = origin.push(&image, "a:1");
    mirror.push(&image, "a:1");
    mirror.forget(&image.layers[1]);
    let place = place(&mirrors(&origin.host, &[&mirror.host]));
    place.ok(&["import", "-o", "x.sqsh", &uri]);
    assert_eq!(fs::read_to_string(place.unpack("x.sqsh", "root").join("b")).unwrap(), "two");
    assert_eq!(origin.requests("/manifests/"), 0);
    assert_eq!(origin.requests("/blobs/"), 1);
}

#[test]
fn an_image_is_where_the_node_says() {
    let registry = Registry::start();
    let image = image("one");
    registry.push(&image, "copies/team/a:1");
    let conf = |blocked: bool| {
        format!(
            "[[registry]]\nprefix = \"example.invalid/team\"\nlocation = \"{}/copies/team\"\nblocked = {blocked}\n",
            registry.host
        )
    };
    let place = place(&conf(false));
    let uri = "docker://example.invalid/team/a:1";
    place.ok(&["pull", uri]);
    assert!(place.ok(&["images"]).contains("example.invalid#team/a:1"));
    // From the store, too.
    fs::write(place.path("registries.conf"), conf(true)).unwrap();
    let before = registry.requests("/");
    for policy in ["always", "missing", "never"] {
        let error = place.fails(&["pull", "--policy", policy, uri]);
        let line = "example.invalid/team/a is not to be fetched on this node: registries.conf blocks example.invalid/team";
        assert!(error.contains(line), "{error}");
    }
    assert_eq!(registry.requests("/"), before);
    // One that nobody can read may say so of any image: nothing is asked for, and the store's are refused as well.
    fs::write(place.path("registries.conf"), "[[registry]]\nlocation = 7\n").unwrap();
    let other = registry.push(&image, "b:1");
    let before = registry.requests("/");
    for uri in [&other, uri] {
        for verb in ["pull", "digest"] {
            let error = place.fails(&[verb, uri]);
            assert!(error.contains("registries.conf: line 2: "), "{verb} {uri}: {error}");
            assert!(error.contains("nothing is fetched until that is mended"), "{error}");
        }
    }
    assert_eq!(registry.requests("/"), before);
    fs::remove_file(place.path("registries.conf")).unwrap();
    place.ok(&["digest", &other]);
}

#[test]
fn a_mirror_gets_no_password_but_its_own() {
    let (origin, mirror) = (Registry::private(), Registry::private());
    let image = image("one");
    let uri = origin.push(&image, "a:1");
    mirror.push(&image, "a:1");
    let conf = mirrors(&origin.host, &[&mirror.host]);
    let blobs = |with: &[&Registry]| {
        let place = place(&conf);
        let line = |registry: &&Registry| {
            format!("machine {} login user password secret\n", registry.host)
        };
        let lines: String = with.iter().map(line).collect();
        let path = place.path("home/.config/enroot");
        fs::create_dir_all(&path).unwrap();
        fs::write(path.join(".credentials"), lines).unwrap();
        let before = (origin.requests("/blobs/"), mirror.requests("/blobs/"));
        place.ok(&["pull", &uri]);
        (origin.requests("/blobs/") - before.0, mirror.requests("/blobs/") - before.1)
    };
    // Their passwords are the same: the mirror would have taken it.
    assert_eq!(blobs(&[&origin]), (3, 0));
    assert_eq!(blobs(&[&origin, &mirror]), (0, 3));
}

#[test]
fn who_need_not_be_secure_is_asked_all_the_same_and_nobody_else() {
    let plain = Registry::start();
    let keys = tempfile::tempdir().unwrap();
    certificates(keys.path());
    let at = |name: &str| keys.path().join(name).display().to_string();
    let tls = format!("certificate: {}, key: {}", at("server.cert"), at("server.key"));
    let unknown = Registry::with_tls(&tls, keys.path());
    for registry in [&plain, &unknown] {
        let uri = registry.push(&image("one"), "a:1");
        let digest = |insecure: bool| {
            let mut place = place(&format!(
                "[[registry]]\nlocation = \"{}\"\ninsecure = {insecure}\n[[registry]]\nlocation = \"other.invalid\"\ninsecure = true\n",
                registry.host
            ));
            place.set("ENROOT_ALLOW_HTTP", "no");
            place.run(&["digest", &uri])
        };
        let refused = digest(false);
        assert_eq!(refused.status.code(), Some(1), "{refused:?}");
        let given = digest(true);
        assert!(given.status.success(), "{given:?}");
    }
}
