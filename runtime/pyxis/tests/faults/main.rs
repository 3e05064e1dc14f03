//! Registries that fail, lie or attack: one clear line, nothing left.

#[path = "../fixtures/mod.rs"]
mod fixtures;

mod credentials;
mod layers;
mod mirrors;
mod server;

use std::time::{Duration, Instant};

use server::{Reply, Server, failure, image, place, status};

#[test]
fn statuses_are_explained() {
    let image = image();
    assert_eq!(failure(&image, status("404 Not Found")), "HOST has no a:1 (becauseof it)");
    let denied = failure(&image, status("403 Forbidden"));
    assert!(
        denied.starts_with(
            "HOST denies access to a (becauseof it): the image does not exist or needs credentials"
        ),
        "{denied}"
    );
    let denied = failure(&image, status("401 Unauthorized"));
    assert!(denied.contains("machine HOST login USER password"), "{denied}");
    let busy = failure(&image, status("429 Too Many Requests"));
    assert!(
        busy.contains("429 Too Many Requests") && busy.contains("log in for a higher limit"),
        "{busy}"
    );
    let broken = failure(&image, status("500 Internal Server Error"));
    assert_eq!(
        broken,
        "HOST answered 500 Internal Server Error to the request for a:1 (becauseof it)"
    );
    let text = failure(&image, |_| Reply::Body(b"<html>captive portal</html>".to_vec()));
    assert!(text.contains("sent a web page for a:1: is this a registry"), "{text}");
    let text = failure(&image, |_| Reply::Body(b"captive portal".to_vec()));
    assert!(text.contains("is malformed"), "{text}");
}

#[test]
fn a_manifest_without_end_is_not_read_to_it() {
    let line = failure(&image(), |_| Reply::Body(vec![b' '; 9 << 20]));
    assert!(line.contains("HOST") && line.contains("a:1") && line.contains("8388608"), "{line}");
}

#[test]
fn what_passes_is_tried_again() {
    let (place, image) = (place(), image());
    let server = Server::start(&image, |request| match request.before {
        0 => Reply::Status("503 Service Unavailable", Vec::new()),
        1 => Reply::Status("429 Too Many Requests", Vec::new()),
        _ => Reply::Good,
    });
    place.ok(&["pull", &server.uri()]);
}

#[test]
fn a_registry_without_tls_or_nobody_there_is_told_at_once() {
    let mut place = place();
    place.set("ENROOT_TRANSFER_RETRIES", "9");
    let server = Server::start(&image(), |_| Reply::Good);
    let start = Instant::now();
    let nobody = place.fails(&["digest", "docker://127.0.0.1:1/a"]);
    assert!(nobody.contains("refused"), "{nobody}");
    place.set("ENROOT_ALLOW_HTTP", "no");
    let plain = place.fails(&["digest", &server.uri()]);
    assert!(plain.contains("ENROOT_ALLOW_HTTP=yes"), "{plain}");
    // Nine retries would take four minutes.
    assert!(start.elapsed() < Duration::from_secs(120));
}

#[test]
fn a_cut_download_goes_on_where_it_ended() {
    let (place, image) = (place(), image());
    let layer = image.layers[0].clone();
    let server = Server::start(&image, move |request| {
        if request.path.contains(&layer) && request.before < 2 {
            return Reply::Cut(1 << 20);
        }
        let resumed = request.range.is_some_and(|start| start == 2 << 20);
        assert!(!request.path.contains(&layer) || resumed, "{:?}", request.range);
        Reply::Good
    });
    place.ok(&["pull", &server.uri()]);
    assert_eq!(server.requests(&image.layers[0]), 3);
}

#[test]
fn a_registry_that_does_not_resume_sends_everything_again() {
    let (place, image) = (place(), image());
    let (layer, blobs) = (image.layers[0].clone(), image.blobs.clone());
    let server = Server::start(&image, move |request| match request.before {
        0 if request.path.contains(&layer) => Reply::Cut(1 << 20),
        _ if request.path.contains(&layer) => Reply::Body(blobs[&layer].clone()),
        _ => Reply::Good,
    });
    place.ok(&["pull", &server.uri()]);
}

#[test]
fn a_download_that_is_always_cut_fails() {
    let line = failure(&image(), |request| {
        if request.path.contains("/blobs/") && request.before > 0 || request.range.is_some() {
            return Reply::Cut(0);
        }
        if request.path.contains("/blobs/") { Reply::Cut(900) } else { Reply::Good }
    });
    assert!(
        line.contains("HOST") && (line.contains("cut the download") || line.contains("cannot get")),
        "{line}"
    );
}

#[test]
fn a_stuck_registry_is_given_up() {
    let mut place = place();
    place.set("PYXIS_IDLE_TIMEOUT", "1");
    place.set("ENROOT_TRANSFER_RETRIES", "0");
    let server = Server::start(&image(), |request| {
        if request.path.contains("/blobs/") {
            Reply::Late(Duration::from_secs(600))
        } else {
            Reply::Good
        }
    });
    let start = Instant::now();
    let line = place.fails(&["pull", &server.uri()]);
    assert!(line.contains("timeout"), "{line}");
    assert!(start.elapsed() < Duration::from_secs(120));
}

#[test]
fn a_slow_download_says_how_far_it_is() {
    let (place, image) = (place(), image());
    let server = Server::start(&image, |request| {
        // Each connection brings a megabyte; the next one comes six seconds later.
        match (request.path.contains("/blobs/"), request.range) {
            (true, None) => Reply::Cut(1 << 20),
            (true, Some(start)) if start < 2 << 20 => Reply::Late(Duration::from_secs(6)),
            _ => Reply::Good,
        }
    });
    let output = place.run(&["pull", &server.uri()]);
    let said = fixtures::text(&output.stderr);
    assert!(output.status.success(), "{said}");
    let told = |line: &str| line.starts_with("[INFO] ") && line.contains(" % of 3.");
    assert!(said.lines().any(told), "{said}");
}

#[test]
fn content_is_what_its_digest_says_or_refused() {
    let image = image();
    let layer = image.layers[0].clone();
    let mut wrong = image.blobs[&layer].clone();
    *wrong.last_mut().unwrap() ^= 1;
    let (name, body) = (layer.clone(), wrong.clone());
    let line = failure(&image, move |request| {
        if request.path.contains(&name) { Reply::Body(body.clone()) } else { Reply::Good }
    });
    assert!(
        line.starts_with("HOST has the digest sha256:")
            && line.contains("damaged or tampered with"),
        "{line}"
    );

    let name = layer.clone();
    wrong.extend([0; 10]);
    let line = failure(&image, move |request| {
        if request.path.contains(&name) { Reply::Body(wrong.clone()) } else { Reply::Good }
    });
    assert!(line.contains("bytes for sha256:") && line.contains("its manifest says"), "{line}");

    let config = image.blobs.keys().find(|key| **key != layer).unwrap().clone();
    let line = failure(&image, move |request| {
        if request.path.contains(&config) { Reply::Body(b"{}".to_vec()) } else { Reply::Good }
    });
    assert!(line.contains("damaged or tampered with"), "{line}");

    let place = place();
    let server = Server::start(&image, |_| Reply::Good);
    let uri = format!("docker://{}/a@sha256:{}", server.host, "0".repeat(64));
    let line = place.fails(&["digest", &uri]);
    assert!(line.contains("damaged or tampered with"), "{line}");
}

#[test]
fn redirects_end_somewhere() {
    let line = failure(&image(), |request| {
        Reply::Status("307 Temporary Redirect", vec![("location", request.path.clone())])
    });
    assert!(line.contains("redirects"), "{line}");
}
