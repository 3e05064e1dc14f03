//! Mirrors that fail or lie: the registry has everything, and the image comes.

use std::fs;
use std::time::Duration;

use crate::fixtures::{Image, Layer, Place, gzip};
use crate::server::{Reply, Request, Server, image, place};

/// A place where `registry` has these mirrors.
fn with_mirrors(registry: &Server, mirrors: &[&str]) -> Place {
    let mut place = place();
    let pairs: Vec<String> =
        mirrors.iter().map(|mirror| format!("{}={mirror}", registry.host)).collect();
    place.set("PYXIS_REGISTRY_MIRRORS", &pairs.join(","));
    place
}

/// What is said while an image comes, and it is the right one: with what the layer `layer` has in it.
fn comes(place: &Place, registry: &Server, image: &Image) -> String {
    let output = place.run(&["import", "-o", "out.sqsh", &registry.uri()]);
    let said = crate::fixtures::text(&output.stderr);
    assert!(output.status.success(), "{said}");
    place.ok(&["import", "-o", "good.sqsh", &Server::start(image, |_| Reply::Good).uri()]);
    let root = |name: &str| place.unpack(name, &format!("{name}-root"));
    let content = |name: &str| fs::read(root(name).join("noise")).unwrap();
    assert!(content("out.sqsh") == content("good.sqsh"), "it is another image");
    said
}

fn layer_of(image: &Image) -> impl Fn(&Request) -> bool + Send + Sync + use<> {
    let layer = image.layers[0].clone();
    move |request| request.path.contains(&layer)
}

/// Somebody who is not there.
fn dead() -> String {
    std::net::TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap().to_string()
}

#[test]
fn what_a_mirror_sends_damaged_comes_from_the_next() {
    let image = image();
    let registry = Server::start(&image, |_| Reply::Good);
    let good = image.blobs[&image.layers[0]].clone();
    let mut wrong = good.clone();
    *wrong.last_mut().unwrap() ^= 1;
    // Another layer, which is sound and would be unpacked as such.
    let mut other = Layer::new().file("noise", "evil").gzip();
    other.resize(good.len(), 0);
    let broken = gzip(&vec![b'x'; 9000]);
    for body in [wrong, other, broken, Vec::new(), good[1..].to_vec()] {
        let is_layer = layer_of(&image);
        let mirror = Server::start(&image, move |request| match is_layer(request) {
            true => Reply::Body(body.clone()),
            false => Reply::Good,
        });
        let place = with_mirrors(&registry, &[&mirror.host]);
        let said = comes(&place, &registry, &image);
        assert!(said.contains(&format!("mirror: {} ", mirror.host)), "{said}");
        assert_eq!(mirror.requests(&image.layers[0]), 1);
    }
    // One that is cut, and goes on with what is right: who sent which part is not to be seen, and the registry is asked for all.
    let is_layer = layer_of(&image);
    let mut wrong = good;
    wrong[1000] ^= 1;
    let lying = Image { blobs: [(image.layers[0].clone(), wrong)].into(), ..image.clone() };
    let mirror = Server::start(&lying, {
        let image = image.clone();
        move |request| match (is_layer(request), request.path.rsplit_once("sha256:")) {
            (true, _) => Reply::Cut(1 << 20),
            (_, Some((_, hex))) if image.blobs.contains_key(hex) => {
                Reply::Body(image.blobs[hex].clone())
            }
            _ => Reply::Good,
        }
    });
    let before = registry.requests(&image.layers[0]);
    let place = with_mirrors(&registry, &[&mirror.host]);
    comes(&place, &registry, &image);
    assert_eq!(registry.requests(&image.layers[0]), before + 2);
}

#[test]
fn where_a_mirror_ends_those_that_follow_go_on() {
    let image = image();
    let registry = Server::start(&image, |_| Reply::Good);
    let cut = || {
        let is_layer = layer_of(&image);
        Server::start(&image, move |request| match is_layer(request) {
            true => Reply::Cut(1 << 20),
            false => Reply::Good,
        })
    };
    let lacking = Server::start(&image, |_| Reply::Status("404 Not Found", Vec::new()));
    let (first, second) = (cut(), cut());
    let dead = [dead(), dead()];
    let mirrors = [&first.host, &dead[0], &lacking.host, &second.host, &dead[1]];
    let place = with_mirrors(&registry, &mirrors.map(String::as_str));
    comes(&place, &registry, &image);
    for server in [&first, &second, &registry] {
        assert_eq!(server.requests(&image.layers[0]), 1, "it is asked for the rest");
    }
}

#[test]
fn a_mirror_whose_manifest_is_of_no_use_is_passed_over() {
    let image = image();
    let registry = Server::start(&image, |_| Reply::Good);
    let arm = format!(
        r#"{{"manifests": [{{"digest": "sha256:{}", "size": 2, "platform": {{"os": "linux", "architecture": "other"}}}}]}}"#,
        "a".repeat(64)
    );
    for body in ["", "{}", "[]", "null", r#"{"schemaVersion": 1}"#, r#"{"manifests": []}"#, &arm] {
        let text = body.to_owned();
        let mirror =
            Server::start(&image, move |request| match request.path.contains("/manifests/") {
                true => Reply::Body(text.clone().into()),
                false => Reply::Good,
            });
        let place = with_mirrors(&registry, &[&mirror.host]);
        let said = comes(&place, &registry, &image);
        assert!(said.contains(&format!("mirror: {}: ", mirror.host)), "{body}: {said}");
        if body != arm {
            let place = with_mirrors(&registry, &[&mirror.host]);
            let digest = place.ok(&["digest", "--index", &registry.uri()]);
            assert_eq!(digest.trim(), image.digest(), "{body}");
        }
    }
}

/// An index that a mirror has, and not what it leads to.
#[test]
fn what_an_index_of_a_mirrors_leads_to_may_be_elsewhere() {
    let image = image();
    let (digest, size) = (image.digest(), image.manifest.len());
    let index = format!(r#"{{"manifests": [{{"digest": "{digest}", "size": {size}}}]}}"#);
    let give = |has: bool| {
        let (index, digest) = (index.clone(), digest.clone());
        move |request: &Request| match request.path.rsplit_once("/manifests/") {
            Some((_, "1")) => Reply::Body(index.clone().into()),
            Some((_, wanted)) if wanted != digest || !has => {
                Reply::Status("404 Not Found", Vec::new())
            }
            _ => Reply::Good,
        }
    };
    let (registry, mirror) =
        (Server::start(&image, give(true)), Server::start(&image, give(false)));
    comes(&with_mirrors(&registry, &[&mirror.host]), &registry, &image);
}

#[test]
fn a_mirror_that_keeps_one_waiting_is_asked_once() {
    let layers = (0..4).map(|n| Layer::new().file("noise", &n.to_string()).gzip());
    let image = Image::new(&layers.collect::<Vec<_>>());
    let registry = Server::start(&image, |_| Reply::Good);
    let mirror = Server::start(&image, |request| match request.path.contains("/blobs/") {
        true => Reply::Late(Duration::from_secs(600)),
        false => Reply::Good,
    });
    let mut place = with_mirrors(&registry, &[&mirror.host]);
    place.set("PYXIS_IDLE_TIMEOUT", "1");
    let said = comes(&place, &registry, &image);
    // The configuration; then four layers from elsewhere.
    assert_eq!(mirror.requests("/blobs/"), 1, "{said}");
    assert_eq!(registry.requests("/blobs/"), 5);
}

#[test]
fn a_mirror_may_be_a_part_of_a_host() {
    let image = image();
    let registry = Server::start(&image, |_| Reply::Good);
    let mirror =
        Server::start(&image, |request| match request.path.starts_with("/v2/proxy/hub/a/") {
            true => Reply::Good,
            false => Reply::Status("404 Not Found", Vec::new()),
        });
    for written in ["/proxy/hub", "/proxy/hub/"] {
        let place = with_mirrors(&registry, &[&format!("{}{written}", mirror.host)]);
        comes(&place, &registry, &image);
    }
    assert_eq!((mirror.requests("/proxy/hub/a/blobs/"), registry.requests("/")), (4, 0));
}
